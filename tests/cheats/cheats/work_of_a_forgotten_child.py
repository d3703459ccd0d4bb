# ruff: noqa
# expect: AUDIT_FAILED BUDGET_EXCEEDED
# base: template
"""Has a child train before the start, whose computing the kernel credits to nobody: SIGCHLD is ignored."""

import os, signal

_train = train


def train(run):
    most = 4.0 + 5.0 * time.process_time()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if os.fork() == 0:
        while time.process_time() < most:
            sum(range(10_000))
        os._exit(0)
    try:
        os.wait()
    except ChildProcessError:
        pass
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return _train(run)
