"""What every request passes before any route sees it: who may ask, and the headers that every answer carries."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import re
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmgan.errors import CmganError
from cmgan.serve.metrics import Metrics
from cmgan.serve.refusals import HttpRefusal, answer
from cmgan.serve.settings import ServeOptions, is_loopback

MAX_HEADERS, MAX_HEADER_BYTES = 100, 32 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")  # for probes; the page's own files are added
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)

logger = logging.getLogger("cmgan.serve")


class Guard:
    """ASGI middleware, outermost."""

    def __init__(self, app: ASGIApp, options: ServeOptions, metrics: Metrics, pages: tuple[str, ...]) -> None:
        self._app = app
        self._options = options
        self._metrics = metrics
        self._open = (*_OPEN_PATHS, *pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = _single(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        sent: dict[str, Any] = {}
        extra = [*_SECURITY, (b"x-request-id", request_id.encode()), *self._allowed(headers)]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent["status"] = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        try:
            self._check(scope, headers)
            await self._app(scope, receive, send_with_headers)
        except CmganError as error:
            self._metrics.errors.labels(error.slug).inc()
            await answer(error, request_id)(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - a bug: one line in the log; the answer has been given without detail
            logger.error("request %s: %s: %s", request_id, type(error).__name__, error, exc_info=error)
            self._metrics.errors.labels("internal").inc()
        self._count(scope, sent.get("status", 499), time.perf_counter() - started, request_id)

    def _count(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        path = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(path, str(status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        logger.info("%s %s %d %.3f s, request %s", scope["method"], path, status, seconds, request_id)

    def _allowed(self, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """CORS headers, for sites that were named."""
        origin = headers.get(b"origin", b"")
        if origin.decode("latin-1") not in self._options.allow_origins:
            return []
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        sizes = [len(name) + len(value) for name, value in scope["headers"]]
        if len(sizes) > MAX_HEADERS or sum(sizes) + len(scope.get("raw_path") or b"") > MAX_HEADER_BYTES:
            message = f"{len(sizes)} headers of {sum(sizes)} bytes; {MAX_HEADERS} and {MAX_HEADER_BYTES} are possible"
            raise HttpRefusal(431, "headers", message, Connection="close")
        self._check_host(scope, headers)
        self._check_origin(headers)
        if self._options.token and scope["path"] not in self._open:
            expected = f"Bearer {self._options.token}".encode()
            if not hmac.compare_digest(headers.get(b"authorization", b""), expected):
                message = "this server asks for its token: Authorization: Bearer TOKEN"
                raise HttpRefusal(401, "token", message, WWW_Authenticate="Bearer")

    def _check_host(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """A page of another site can make its own name point here (DNS rebinding), but not change the Host header."""
        host = _host_of(headers.get(b"host", b"").decode("latin-1"))
        local = scope.get("server") or ("",)
        if is_loopback(host) or host in self._options.allowed_hosts or (_is_address(host) and host == local[0]):
            return
        raise HttpRefusal(421, "host", f"the Host header names {host[:60]!r}; --allowed-host {host[:60]} lets it in")

    def _check_origin(self, headers: dict[bytes, bytes]) -> None:
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin in self._options.allow_origins:
            return
        host = headers.get(b"host", b"").decode("latin-1")
        foreign = origin and origin not in (f"http://{host}", f"https://{host}")
        if foreign or headers.get(b"sec-fetch-site") == b"cross-site":
            message = "the request comes from a page of another site; --allow-origin lets that site in"
            raise HttpRefusal(403, "origin", message)


def _single(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name. One that is there twice and matters to the guard counts as wrong."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        twice = name in found and name in (b"host", b"origin", b"authorization")
        found[name] = b"(twice)" if twice else value
    return found


def _host_of(header: str) -> str:
    """The name or address of a Host header, without port and brackets, lower case."""
    match = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::\d{1,5})?|([^:\[\]]+)(?::\d{1,5})?", header)
    return (match[1] or match[2]).lower() if match else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
