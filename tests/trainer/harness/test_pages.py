"""What is touched ahead is there when it is needed: counted in page faults, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import mmap, os, resource, sys
from trainer.harness.pages import PAGE, PASS_PER_LOGITS, touch_pages

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

size = 4 << 20
descriptor = os.memfd_create("logits")
os.ftruncate(descriptor, size)
os.write(descriptor, bytes(size))  # as the evaluator has done
memory = mmap.mmap(descriptor, size)
if sys.argv[1] == "touched":
    touch_pages(memory)
before = faults()
memory[::PAGE] = bytes(size // PAGE)
shared = faults() - before
block = bytearray(PASS_PER_LOGITS * size // 2)
heap = faults() - before - shared
print(shared / (size // PAGE), heap / (len(block) // PAGE))
"""


def faults_of_a_page(how: str) -> list[float]:
    """Of the shared memory, and of the heap."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return [float(one) for one in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc and memfd")
def test_the_pages_of_the_first_answer_are_there_before_it() -> None:
    assert min(faults_of_a_page("untouched")) > 0.9
    assert max(faults_of_a_page("touched")) < 0.05
