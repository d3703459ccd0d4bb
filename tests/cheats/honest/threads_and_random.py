# ruff: noqa
# base: template
"""Threads, numpy and random numbers of its own."""

import random, threading
import numpy

_found = []
_worker = threading.Thread(
    target=lambda: _found.append(numpy.random.default_rng(1).random() + random.random())
)
_worker.start()
_worker.join()
