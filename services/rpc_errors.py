"""The table between our errors and google.rpc.Status, in both directions."""

from __future__ import annotations

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from services import errors

STATUS_BY_ERROR: dict[type[errors.ServiceError], grpc.StatusCode] = {
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnsupportedError: grpc.StatusCode.UNIMPLEMENTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.CanceledError: grpc.StatusCode.CANCELLED,
    errors.DataLossError: grpc.StatusCode.DATA_LOSS,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}
ERROR_BY_STATUS: dict[grpc.StatusCode, type[errors.ServiceError]] = {
    status: error for error, status in STATUS_BY_ERROR.items()
} | {
    # Codes that we never send; a peer or the transport may.
    grpc.StatusCode.UNKNOWN: errors.InternalError,
    grpc.StatusCode.ABORTED: errors.UnavailableError,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidArgumentError,
}


def status_code(error: errors.ServiceError) -> grpc.StatusCode:
    """The code of the nearest class in the table; INTERNAL for a ConfigurationError."""
    for kind in type(error).__mro__:
        if kind in STATUS_BY_ERROR:
            return STATUS_BY_ERROR[kind]
    return grpc.StatusCode.INTERNAL


def to_status(error: errors.ServiceError, domain: str) -> status_pb2.Status:
    """The wire form: code, message, ErrorInfo, and BadRequest or RetryInfo where they apply."""
    code: int = status_code(error).value[0]
    status = status_pb2.Status(code=code, message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=domain, metadata=error.metadata)
    _add_detail(status, info)
    if isinstance(error, errors.InvalidArgumentError) and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        _add_detail(status, error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(max(0, round(error.retry_after * 1000)))
        _add_detail(status, error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def from_rpc_error(error: grpc.aio.AioRpcError) -> errors.ServiceError:
    """The error that the other side raised, or what the transport says of its failure."""
    kind = ERROR_BY_STATUS.get(error.code(), errors.InternalError)
    reason: str | None = None
    metadata: dict[str, str] = {}
    retry_after: float | None = None
    status = _read_status(error)
    for detail in status.details if status is not None else []:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    message = error.details() or f"the call failed with {error.code().name}"
    if kind is errors.InvalidArgumentError:
        return errors.InvalidArgumentError(message, reason=reason, metadata=metadata)
    return kind(message, reason=reason, metadata=metadata, retry_after=retry_after)


def _read_status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)
    except ValueError:  # code or message of the trailer differ from the call's: not ours
        return None
    return status


def _add_detail(
    status: status_pb2.Status,
    detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)
