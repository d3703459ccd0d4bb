"""The table from our errors to HTTP, as an aiohttp middleware. Compatible routes with their own wire
format (ferricula, sdr-random) catch errors themselves and never get here."""

from __future__ import annotations

import logging
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from services import errors

HTTP_STATUS_BY_ERROR: dict[type[errors.ServiceError], HTTPStatus] = {
    errors.InvalidArgumentError: HTTPStatus.BAD_REQUEST,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.AlreadyExistsError: HTTPStatus.CONFLICT,
    errors.FailedPreconditionError: HTTPStatus.CONFLICT,
    errors.PermissionDeniedError: HTTPStatus.FORBIDDEN,
    errors.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    errors.ResourceExhaustedError: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.UnsupportedError: HTTPStatus.NOT_IMPLEMENTED,
    errors.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DeadlineExceededError: HTTPStatus.GATEWAY_TIMEOUT,
    errors.DataLossError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

log = logging.getLogger(__name__)


def http_status(error: errors.ServiceError) -> HTTPStatus:
    """The status of the nearest class in the table, 500 where there is none."""
    for kind in type(error).__mro__:
        if kind in HTTP_STATUS_BY_ERROR:
            return HTTP_STATUS_BY_ERROR[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers errors as JSON {"error", "reason", "metadata"}; a defect as 500 without its text."""
    try:
        return await handler(request)
    except errors.ServiceError as error:
        status = http_status(error)
        inside = isinstance(error, errors.InternalError | errors.ConfigurationError)
        text = "internal error" if inside else error.message
        body = {"error": text, "reason": error.reason, "metadata": error.metadata}
        headers = {} if error.retry_after is None else {"Retry-After": str(max(1, round(error.retry_after)))}
        return web.json_response(body, status=status, headers=headers)
    except web.HTTPException:
        raise
    except Exception:
        log.exception("unexpected error", extra={"path": request.path})
        return web.json_response(
            {"error": "internal error", "reason": "INTERNAL", "metadata": {}}, status=500
        )
