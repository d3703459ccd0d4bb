# ruff: noqa
# expect: FAILED TIMEOUT
# wall: 3
"""Ignores every signal it may and sleeps."""

import signal, time

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
while True:
    time.sleep(1)
