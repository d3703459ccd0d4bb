# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Looks for keys in its environment and that of every process it can see."""

import glob, os

found = [name for name, value in os.environ.items() if "@CANARY@" in value]
for path in glob.glob("/proc/[0-9]*/environ") + [f"/proc/{os.getppid()}/environ", "/proc/1/environ"]:
    try:
        if b"@CANARY@" in open(path, "rb").read():
            found.append(path)
    except OSError:
        continue
print("found", found)
raise RuntimeError(f"found {found}") if found else PermissionError("no keys in sight")
