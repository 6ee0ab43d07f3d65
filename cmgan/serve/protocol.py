"""What uvicorn leaves open: deadlines for receiving, limits of connections and headers, a stop that has an end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cmgan.serve.guard import MAX_HEADER_BYTES
from cmgan.serve.settings import ServeOptions


class Protocol(HttpToolsProtocol):
    """One connection. A request has to arrive: its head within `header_timeout`, all of it within `receive_timeout`."""

    def __init__(self, *arguments: Any, options: ServeOptions, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._options = options
        self._deadline: asyncio.TimerHandle | None = None
        self._receiving = False  # a head has come, its body not yet
        self._head = 0  # bytes since the last whole message

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._options.max_connections:
            self._refuse(503, "connections", "too many connections (--max-connections)")
            return
        self._expect(self._options.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._deadline is None and not self._receiving and self._idle():
            self._expect(self._options.header_timeout)
        self._head += len(data)
        super().data_received(data)
        if not self._receiving and self._idle() and self._head > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._refuse(431, "headers", f"headers of more than {MAX_HEADER_BYTES} bytes")

    def on_headers_complete(self) -> None:
        self._receiving = True
        self._expect(self._options.receive_timeout)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._receiving, self._head = False, 0
        self._forget()
        super().on_message_complete()

    def shutdown(self) -> None:
        """The server stops: idle connections and half-sent requests end now, others with their answer."""
        super().shutdown()
        if self._receiving and not self.transport.is_closing():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "http", "this is no HTTP/1.1 request")

    def _idle(self) -> bool:
        """Whether no answer is owed."""
        cycle: Any = self.cycle  # None until the first request
        return cycle is None or bool(cycle.response_complete)

    def _expect(self, seconds: float) -> None:
        self._forget()
        self._deadline = self.loop.call_later(seconds, self._late)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        if self.transport.is_closing():
            return
        if self._receiving and not self.cycle.response_started:
            limit = self._options.receive_timeout
            self._refuse(408, "receive_timeout", f"the request was not all there after {limit:g} s (--receive-timeout)")
        else:
            self.transport.close()

    def _refuse(self, status: int, slug: str, sentence: str) -> None:
        body = json.dumps({"error": sentence, "code": slug, "request_id": ""}).encode()
        head = STATUS_LINE[status] + b"content-type: application/json\r\nx-content-type-options: nosniff\r\n"
        head += b"cache-control: no-store\r\nconnection: close\r\ncontent-length: %d\r\n" % len(body)
        head += b"retry-after: 1\r\n" if status == 503 else b""
        self.transport.write(head + b"\r\n" + body)
        self.transport.close()
