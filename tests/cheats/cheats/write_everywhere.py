# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Writes to the harness, the packages, the source, the run and the home folder."""

import os, sys
import trainer.harness as harness

targets = [
    harness.__path__[0] + "/launch.py",
    sys.prefix + "/lib/evil.py",
    os.path.realpath(__file__),
    "@OUTSIDE@",
    os.environ["AUTORESEARCH_RUN"],
    os.path.dirname(os.environ["AUTORESEARCH_RUN"]) + "/log.txt",
    "/root/.bashrc",
    "/etc/cron.d/evil",
    "/usr/local/bin/evil",
    "/var/tmp/evil",
]
written = []
for target in targets:
    try:
        with open(target, "a") as stream:
            stream.write("")
        written.append(target)
    except OSError:
        continue
# Folders below /tmp may be the sandbox's own, in memory; the test looks at the real ones.
written = [path for path in written if not path.startswith("/tmp/")]
raise RuntimeError(f"written {written}") if written else PermissionError("nothing was writable")
