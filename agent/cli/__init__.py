"""The command `autoresearch`: errors become one line on stderr and a documented exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback

from agent.cli.console import print_error, tolerate_any_text
from agent.cli.exit_codes import ExitCode, exit_code
from agent.launch.environment import forget_other_repository
from services.errors import ServiceError, is_full_disk


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Runs one command and answers its exit code."""
    tolerate_any_text()
    forget_other_repository()
    try:
        from agent.cli.application import run_application

        return run_application(arguments)
    except ServiceError as error:
        print_error(str(error))
        return exit_code(error)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.FAILED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return ExitCode.FAILED
    except OSError as error:
        print_error(_explain(error))
        return ExitCode.FULL if is_full_disk(error) else ExitCode.FAILED
    except UnicodeEncodeError as error:
        print_error(
            f"{error.object!r} holds bytes that are no text in the encoding of this terminal "
            f"({sys.getfilesystemencoding()}): choose another name for the folder, or set PYTHONUTF8=1"
        )
        return ExitCode.USAGE
    except Exception as error:
        print_error(f"internal error ({type(error).__name__}); details are in {_keep_traceback()}")
        return ExitCode.INTERNAL


def _explain(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _keep_traceback() -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="autoresearch-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(traceback.format_exc())
        return file.name


def _forget_stdout() -> None:
    # The reader of the pipe is gone; without this the interpreter complains once more when it ends.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
