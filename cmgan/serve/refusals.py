"""How every refusal becomes an answer: a status, and the same sentence that the command line says."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

from cmgan.errors import (
    CmganError,
    DeadlineError,
    MissingError,
    PictureError,
    SystemRefusal,
    UsageError,
    clipped,
)

_STATUS: tuple[tuple[type[CmganError], int], ...] = (
    (UsageError, 400),
    (PictureError, 422),
    (MissingError, 503),
    (SystemRefusal, 503),
    (DeadlineError, 504),
)


class HttpRefusal(UsageError):
    """A refusal that HTTP has a status of its own for."""

    def __init__(self, status: int, slug: str, message: str, **headers: str) -> None:
        super().__init__(slug, message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def busy(slug: str, message: str) -> HttpRefusal:
    """503, and when to come again."""
    return HttpRefusal(503, slug, message, Retry_After="1")


def status_of(error: CmganError) -> int:
    """The HTTP status of a refusal."""
    if isinstance(error, HttpRefusal):
        return error.status
    if error.slug == "file_too_large":
        return 413
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def answer(error: CmganError, request_id: str) -> JSONResponse:
    """The answer to a request that was refused."""
    status = status_of(error)
    headers: Mapping[str, str] = error.headers if isinstance(error, HttpRefusal) else {}
    if status == 503:
        headers = {"Retry-After": "1", **headers}
    sentence = clipped(str(error))
    return JSONResponse({"error": sentence, "code": error.slug, "request_id": request_id}, status, headers)
