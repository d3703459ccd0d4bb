"""The errors that daemons raise and clients receive; imports nothing of ours.

ServiceError
├── InvalidArgumentError      a field of the request is wrong, whatever the state
├── NotFoundError             the named thing does not exist
├── AlreadyExistsError        the name is taken by something else
├── FailedPreconditionError   the request is right, the state is not
├── PermissionDeniedError     known caller, not allowed
├── UnauthenticatedError      no credential, or a wrong one
├── ResourceExhaustedError    a queue, a disk or a quota is full
├── UnsupportedError          this implementation cannot do it
├── UnavailableError          not now; may be retried
├── DeadlineExceededError     no answer in time
├── CanceledError             the caller or the daemon gave up
├── DataLossError             stored data is damaged
├── InternalError             a defect; details are in the daemon's log
└── ConfigurationError        settings or installation are wrong; never crosses the wire
"""

from __future__ import annotations

import errno
from collections.abc import Mapping


class ServiceError(Exception):
    """Base of all errors that may cross a service boundary.

    `message` is one sentence for a person: the field, its value, the way out. `reason` is a documented
    UPPER_SNAKE name that a program can branch on. `metadata` holds short strings, no secrets.
    `retry_after` is in seconds; None means that the sender gave no hint.
    """

    default_reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata: dict[str, str] = dict(metadata or {})
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message


class InvalidArgumentError(ServiceError):
    """A field of the request is wrong. `field` names it."""

    default_reason = "INVALID_ARGUMENT"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        merged = dict(metadata or {})
        if field:
            merged.setdefault("field", field)
        super().__init__(message, reason=reason, metadata=merged)
        self.field = field or merged.get("field", "")


class NotFoundError(ServiceError):
    default_reason = "NOT_FOUND"


class AlreadyExistsError(ServiceError):
    default_reason = "ALREADY_EXISTS"


class FailedPreconditionError(ServiceError):
    default_reason = "FAILED_PRECONDITION"


class PermissionDeniedError(ServiceError):
    default_reason = "PERMISSION_DENIED"


class UnauthenticatedError(ServiceError):
    default_reason = "UNAUTHENTICATED"


class ResourceExhaustedError(ServiceError):
    default_reason = "RESOURCE_EXHAUSTED"


class UnsupportedError(ServiceError):
    default_reason = "UNSUPPORTED"


class UnavailableError(ServiceError):
    default_reason = "UNAVAILABLE"


class DeadlineExceededError(ServiceError):
    default_reason = "DEADLINE_EXCEEDED"


class CanceledError(ServiceError):
    default_reason = "CANCELLED"


class DataLossError(ServiceError):
    default_reason = "DATA_LOSS"


class InternalError(ServiceError):
    default_reason = "INTERNAL"


class ConfigurationError(ServiceError):
    """Settings, files or the installation are wrong; the message says what to change."""

    default_reason = "CONFIGURATION"


def is_full_disk(error: ServiceError | OSError) -> bool:
    """Whether an error says that a disk, or somebody's quota of it, is full: the system's, or ours for it."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, ResourceExhaustedError)
