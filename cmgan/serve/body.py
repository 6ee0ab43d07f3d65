"""The body of a request: read up to a limit, then taken apart in memory."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pydantic_core
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from cmgan.errors import PictureError
from cmgan.serve.refusals import HttpRefusal
from cmgan.serve.settings import ServeOptions

MAX_PARTS = 24
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]{1,32};base64,", re.IGNORECASE)


def media_type(request: Request) -> str:
    """The content type without its parameters, lower case."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def read_body(request: Request, options: ServeOptions, hold: Callable[[int], None]) -> bytes:
    """The whole body, refused as soon as it is too large.

    Raises:
        HttpRefusal: content_encoding (415), body_too_large (413).
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise HttpRefusal(415, "content_encoding", f"Content-Encoding {encoding[:20]!r}: send the body as it is")
    limit = options.max_body_bytes
    declared = request.headers.get("content-length", "0")
    if len(declared) > 18 or int(declared) > limit:
        refusal = _too_large(f"{declared[:20]} bytes", limit)
        if "expect" in request.headers:  # or the next request would be taken for the body that does not come
            refusal.headers["Connection"] = "close"
        raise refusal
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(f"more than {limit} bytes", limit)
        hold(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(seen: str, limit: int) -> HttpRefusal:
    return HttpRefusal(413, "body_too_large", f"a body of {seen}; the limit is {limit} (--max-body-bytes)")


def parse_json(data: bytes | memoryview) -> dict[str, Any]:
    """A JSON object; anything else, NaN and deep nesting among it, is refused."""
    try:
        document = pydantic_core.from_json(bytes(data), allow_inf_nan=False)
    except ValueError as error:
        raise HttpRefusal(400, "json", f"the body is no JSON ({str(error)[:80]})") from None
    if not isinstance(document, dict):
        raise HttpRefusal(400, "json", "the body is JSON, but no object")
    return document


class _InMemory(MultiPartParser):
    """Keeps files in memory, whose size has been checked, instead of spooling them to disk."""

    spool_max_size = 2**31


async def parse_form(request: Request, body: bytes) -> dict[str, str | bytes]:
    """The fields of a multipart form: bytes of files, text of the others. Names of files are ignored.

    Raises:
        HttpRefusal: form (broken, too many parts, a field twice).
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(
        request.headers, stream(), max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=len(body) + 1
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HttpRefusal(400, "form", f"the form is broken ({error.message[:80]})") from None
    items = form.multi_items()
    if len(items) > MAX_PARTS:
        raise HttpRefusal(400, "form", f"{len(items)} parts in the form; {MAX_PARTS} are possible")
    fields: dict[str, str | bytes] = {}
    for name, value in items:
        if name in fields:
            raise HttpRefusal(400, "form", f"the field {name[:40]!r} is there twice")
        fields[name] = await value.read() if isinstance(value, UploadFile) else value
    return fields


def picture_bytes(value: str | bytes, name: str) -> bytes:
    """The bytes of a picture that came as a file, as base64, or as a data: URL with base64 in it.

    Raises:
        PictureError: base64 (422). Nothing is ever fetched: an address of a picture is no picture.
    """
    if isinstance(value, bytes):
        return value
    head = _DATA_URL.match(value[:64])
    try:
        return base64.b64decode(value[head.end() if head else 0 :], validate=True)
    except (binascii.Error, ValueError):
        message = f"{name} is no base64; send the file's bytes, base64 or a data: URL of a picture, not an address"
        raise PictureError("base64", message) from None
