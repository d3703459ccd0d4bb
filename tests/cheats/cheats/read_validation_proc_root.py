# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""The same through the root folder of another process."""

import json, os

data = json.load(open(os.environ["AUTORESEARCH_RUN"]))["data_dir"]

found = 0
for name in os.listdir("/proc") if os.access("/proc", os.R_OK) else ["1", str(os.getppid())]:
    if name.isdigit():
        try:
            found += len(
                open(f"/proc/{name}/root{os.path.abspath(data + '/../validation/rows.bin')}", "rb").read()
            )
        except OSError:
            continue
raise RuntimeError(f"stolen {found}") if found else PermissionError("no process lends its root")
