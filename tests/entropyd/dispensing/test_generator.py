"""HMAC_DRBG against published CAVP vectors, and what a stolen state gives away."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from entropyd.dispensing.generator import Generator, HmacDrbg

VECTORS = json.loads(Path(__file__).with_name("hmac_drbg_sha512.json").read_text())["vectors"]


@pytest.mark.parametrize("name", VECTORS)
def test_published_vectors(name: str) -> None:
    vector = {key: bytes.fromhex(value) for key, value in VECTORS[name].items()}
    drbg = HmacDrbg(vector["entropy"], vector["nonce"], vector.get("personalization", b""))
    if "reseed" in vector:
        drbg.reseed(vector["reseed"])
    drbg.generate(256, vector.get("additional_1", b""))
    assert drbg.generate(256, vector.get("additional_2", b"")) == vector["returned"]


def test_one_request_is_bounded() -> None:
    with pytest.raises(ValueError, match="at most 65536"):
        HmacDrbg(b"e" * 32).generate(65_537)


class Frozen:
    """An operating system whose generator is stuck: the worst case for us."""

    def __call__(self, count: int) -> bytes:
        return b"\x5a" * count


def test_a_stolen_state_does_not_give_back_earlier_output() -> None:
    generator = Generator(Frozen())
    earlier = generator.generate(64)
    stolen = copy.deepcopy(generator)
    assert earlier not in {stolen.generate(64) for _ in range(50)}
    # The state has moved by a one-way function: the same key and value never stand in it again.
    assert (stolen._drbg._key, stolen._drbg._value) != (generator._drbg._key, generator._drbg._value)


def test_one_reseed_of_256_bits_locks_a_thief_out() -> None:
    generator = Generator(Frozen())
    stolen = copy.deepcopy(generator)
    assert generator.generate(32) == stolen.generate(32)  # until then the thief sees everything
    generator.reseed(os.urandom(32), 256.0)
    assert generator.generate(32) != stolen.generate(32)


def test_copies_of_a_process_image_differ_at_once() -> None:
    generator = Generator()
    restored = copy.deepcopy(generator)  # a fork, or a virtual machine started twice from one snapshot
    assert generator.generate(32) != restored.generate(32)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_parent_and_child_after_fork_differ() -> None:
    code = (
        "import os, sys\n"
        "from entropyd.dispensing.generator import Generator\n"
        "g = Generator(); r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.write(w, g.generate(32)); os._exit(0)\n"
        "os.wait(); print(os.read(r, 32) != g.generate(32))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "True"


def test_long_requests_are_served_whole() -> None:
    data = Generator().generate(200_000)
    assert len(data) == 200_000
    assert len({data[i : i + 16] for i in range(0, len(data), 16)}) == 12_500


def test_the_generator_counts_reseeds_and_forgets_the_radio() -> None:
    generator = Generator()
    generator.reseed(b"r" * 48, 384.0)
    assert (generator.generation, generator.radio_bits) == (1, 384.0)
    generator.generate(100)
    assert generator.bytes_since_reseed == 100
    generator.forget_radio()
    assert (generator.generation, generator.radio_bits, generator.bytes_since_reseed) == (2, 0.0, 0)
