"""Exit codes of `autoresearch`, for scripts. docs/cli.md holds the same table."""

from __future__ import annotations

from enum import IntEnum

from services import errors


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    """The work ran and failed: a training run, a session, a check of `doctor`."""
    USAGE = 2
    """A flag, a setting or the installation is wrong."""
    REFUSED = 3
    """The lab or the daemon is in a state that does not allow it, or the thing does not exist."""
    UNREACHABLE = 4
    """A daemon did not start, did not answer, or answered too late."""
    CREDENTIALS = 5
    """No credential, a wrong one, or one that is not allowed to do this."""
    FULL = 6
    """A disk, a queue or a quota is full."""
    INTERNAL = 70
    """A defect of ours; the message names the file that holds the details."""
    INTERRUPTED = 130
    """Ctrl-C or SIGTERM."""


_BY_ERROR: tuple[tuple[type[errors.ServiceError], ExitCode], ...] = (
    (errors.ConfigurationError, ExitCode.USAGE),
    (errors.InvalidArgumentError, ExitCode.USAGE),
    (errors.UnsupportedError, ExitCode.USAGE),
    (errors.NotFoundError, ExitCode.REFUSED),
    (errors.AlreadyExistsError, ExitCode.REFUSED),
    (errors.FailedPreconditionError, ExitCode.REFUSED),
    (errors.DataLossError, ExitCode.REFUSED),
    (errors.UnavailableError, ExitCode.UNREACHABLE),
    (errors.DeadlineExceededError, ExitCode.UNREACHABLE),
    (errors.CanceledError, ExitCode.INTERRUPTED),
    (errors.UnauthenticatedError, ExitCode.CREDENTIALS),
    (errors.PermissionDeniedError, ExitCode.CREDENTIALS),
    (errors.ResourceExhaustedError, ExitCode.FULL),
)
_CREDENTIAL_REASONS = frozenset({"NO_KEY", "CAP_REQUIRED"})


def exit_code(error: errors.ServiceError) -> ExitCode:
    """The code for an error of the tree; INTERNAL where the table has none."""
    if error.reason in _CREDENTIAL_REASONS:
        return ExitCode.CREDENTIALS
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    return ExitCode.INTERNAL
