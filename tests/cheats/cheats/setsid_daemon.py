# ruff: noqa
# expect: SUCCEEDED
# base: template
"""Leaves a process behind that has left session, group and parent."""

import os, sys

if "AUTORESEARCH_RUN" in os.environ and os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.execv(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(3600)  # @MARK@"])
    os._exit(0)
