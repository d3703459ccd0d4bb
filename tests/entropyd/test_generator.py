"""HMAC_DRBG against published CAVP vectors, and what a stolen state gives away."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import pytest

from entropyd.generator import Generator, HmacDrbg

# NIST CAVP, CAVS 14.3, HMAC_DRBG.rsp, section [SHA-512], COUNT 0 (and 1) of each group; the second of two
# requests of 256 bytes is compared.
VECTORS = {
    "plain-0": {
        "entropy": "35049f389a33c0ecb1293238fd951f8ffd517dfde06041d32945b3e26914ba15",
        "nonce": "f7328760be6168e6aa9fb54784989a11",
        "returned": "e76491b0260aacfded01ad39fbf1a66a88284caa5123368a2ad9330ee48335e3c9c9ba90e6cbc9429962d60c1a66"
        "61edcfaa31d972b8264b9d4562cf18494128a092c17a8da6f3113e8a7edfcd4427082bd390675e9662408144971717303d8d"
        "c352c9e8b95e7f35fa2ac9f549b292bc7c4bc7f01ee0a577859ef6e82d79ef23892d167c140d22aac32b64ccdfeee2730528"
        "a38763b24227f91ac3ffe47fb11538e435307e77481802b0f613f370ffb0dbeab774fe1efbb1a80d01154a9459e73ad36110"
        "8bbc86b0914f095136cbe634555ce0bb263618dc5c367291ce0825518987154fe9ecb052b3f0a256fcc30cc14572531c9628"
        "973639beda456f2bddf6",
    },
    "plain-1": {
        "entropy": "4cc8214cd7e85a76bfa735bbbfce926c0323fc348de6c05ed1800c2c8f58c6b1",
        "nonce": "001eb1f6b29b35242a3f8fa2e90003f4",
        "returned": "1efa15d644e1bdf34eade3ff2f5e9ca45203ccaa1e534ac9b4287a846b71292b03102286d99f2be64b898fe90923"
        "8f540ebc25f49522f60ef723a4c428ead530a97c62405cd5d9ecc54ac5baa47ac4f6195d637833f462d21a659b4903d9cfa6"
        "c9fd4512445f9abb5782899a6bb64592f3c2b3c745b18645301fdb09a6a331e9fb6d9654fc79c14ed83ac1684c755b9cb209"
        "885f86ff290a71f08a848b960152f05b1aa8566bd382ddd45521062831d7a0fb3a8bd8e112a91b5960690cd8585c1aa10451"
        "4e3b9cbf52f6384e84c27bda2802fe9fb952cbf2bd607f869d0aeaa6b136c6a5f6e9b0522b6019b7ba6af6cff99fda612e02"
        "4867decd8c0c6fde2034",
    },
    "personalization": {
        "entropy": "73529bba71a3d4b4fcf9a7edeed269dbdc3748b90df68c0d00e245de54698c77",
        "nonce": "22e2d6e24501212b6f058e7c54138007",
        "personalization": "e2cc19e31595d0e4de9e8bd3b236dec2d4b032c3dd5bf9891c284cd1bac67bdb",
        "returned": "1a73d58b7342c3c933e3ba15eedd8270988691c3794b45aa358570391571881c0d9c4289e5b198db5534c3cb8466"
        "ab48250fa67f24cb19b7038e46af56687bab7e5de3c82fa7312f54dc0f1dc93f5b03fcaa6003cae28d3d4707368c144a7aa4"
        "6091822da292f97f32caf90ae3dd3e48e808ae12e633aa0410106e1ab56bc0a0d80f438e9b3492e4a3bc88d73a3904f7dd06"
        "0c48ae8d7b12bf89a19551b53b3f55a511d2820e941640c845a8a0466432c5850c5b61bec5272602521125addf677e949b96"
        "782bc01a904491df08089bed004ad56e12f8ea1a200883ad72b3b9fae12b4eb65d5c2bacb3ce46c7c48464c9c29142fb35e7"
        "bc267ce852296ac042f9",
    },
    "additional-input": {
        "entropy": "a3da06bc88e2f2ea5181292c194a10b3db38a11d02ac2f9c65951d0c71f63e36",
        "nonce": "c74e5e3d7ba0193bcd6839e9ae93d70d",
        "additional_1": "dbb7270760d8d262557807ce746ff314fd06598143611ab69bfc7e10ca5784b3",
        "additional_2": "8cdea882f894e5fdc5f0a0b16b7d9ac8cde35ed17bcaf2665564d4ee74059e29",
        "returned": "cb706b90e88380e5c1864458454027821b571dfeba0da83f712efb107b8752099514ef87b4488fbfa3508a00954b"
        "b03090766d2bbd399e71c86c7967a4e8ded57095a29d4cfa01f8d28c97e81a4cd4fc5be7fb32a0d6c230cb8760e656b74fa7"
        "e18e2063ebee5787958b272fc5de93f0d6837e55f0c360dc593c88fff30a428cae37ded52f825646e04133a19790c304e4b1"
        "f040e10439c5edf454e6f71b23eeb43cdbe7b0634b8e283a97806073f7f28a43de2d0d969b3eda380c185b785b9101dc9050"
        "25c9cdb499e594de0f0d3eb41922c20994fe2c403dd5bf01e4b2c3ee6654d6ab9cca7d4d5ae59525a796119547eae6a3cbf8"
        "ad0e9b1de3c4d5a804e4",
    },
    "reseed": {
        "entropy": "48c121b18733af15c27e1dd9ba66a9a81a5579cdba0f5b657ec53c2b9e90bbf6",
        "nonce": "bbb7c777428068fad9970891f879b1af",
        "reseed": "e0ffefdadb9ccf990504d568bdb4d862cbe17ccce6e22dfcab8b4804fd21421a",
        "returned": "05da6aac7d980da038f65f392841476d37fe70fbd3e369d1f80196e66e54b8fadb1d60e1a0f3d4dc173769d75fc3"
        "410549d7a843270a54a068b4fe767d7d9a59604510a875ad1e9731c8afd0fd50b825e2c50d062576175106a9981be37e02ec"
        "7c5cd0a69aa0ca65bddaee1b0de532e10cfa1f5bf6a026e47379736a099d6750ab121dbe3622b841baf8bdcbe875c85ba4b5"
        "86b8b5b57b0fecbec08c12ff2a9453c47c6e32a52103d972c62ab9affb8e728a31fcefbbccc556c0f0a35f4b10ace2d96b90"
        "6e36cbb72233201e536d3e13b045187b417d2449cad1edd192e061f12d22147b0a176ea8d9c4c35404395b6502ef333a813b"
        "6586037479e0fa3c6a23",
    },
}


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
        "from entropyd.generator import Generator\n"
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
