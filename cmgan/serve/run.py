"""A server from start to stop: the socket first, then the model; a signal ends it without losing accepted work."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from cmgan.errors import SystemRefusal, UsageError
from cmgan.runtime.engine import Engine
from cmgan.serve.app import create_app
from cmgan.serve.desk import WORKERS
from cmgan.serve.protocol import Protocol
from cmgan.serve.service import Service
from cmgan.serve.settings import ServeOptions

_TICK = 0.02  # seconds

logger = logging.getLogger("cmgan.serve")


def listen(options: ServeOptions) -> socket.socket:
    """A listening socket at the address of `options`.

    Raises:
        SystemRefusal: port_in_use, address (not of this machine, or not allowed).
        UsageError: host (no such name).
    """
    host, port = options.host.strip("[]"), options.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise UsageError("host", f"--host {host!r} is no address or name that is known here") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(options.max_connections)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} is in use by another program; --port takes another one, 0 any free one"
            raise SystemRefusal("port_in_use", message) from None
        raise SystemRefusal("address", f"cannot listen at {host}:{port} ({error.strerror})") from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The address of a listening socket as one types it into a browser."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(
    listener: socket.socket,
    open_engine: Callable[[], Engine],
    options: ServeOptions,
    ready: Callable[[Engine], None],
    card: Path | None = None,
) -> int:
    """Serve until a signal comes; 0 when everything accepted was answered, 143 when some was not within the grace.

    Requests are answered with 503 until `open_engine`, in a thread, has given the engine; its errors are raised here,
    after the server has stopped. `ready` is called when requests are taken; `card` is the file that says what the model
    is good for.
    """
    logging.getLogger("cmgan").addFilter(_of_no_request)
    for library in ("python_multipart", "uvicorn"):  # what they remark about a request is in its answer
        logging.getLogger(library).setLevel(logging.CRITICAL)
    return asyncio.run(_serve(listener, open_engine, Service(options, card), ready))


def _of_no_request(record: logging.LogRecord) -> bool:
    """Whether a record belongs into the log: the warnings about a picture go to who sent it."""
    return not (hasattr(record, "slug") and str(record.threadName).startswith(WORKERS))


async def _serve(
    listener: socket.socket, open_engine: Callable[[], Engine], service: Service, ready: Callable[[Engine], None]
) -> int:
    server = _Server(service)
    failures: list[BaseException] = []

    def load() -> None:
        try:
            engine = open_engine()
            service.start(engine)
            ready(engine)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            failures.append(error)
            server.should_exit = True

    threading.Thread(target=load, daemon=True, name="cmgan-load").start()  # a stop does not wait for it
    await server.serve(sockets=[listener])
    service.close(finished=not server.dropped)
    if failures:
        raise failures[0]
    return 143 if server.dropped else 0


class _Server(uvicorn.Server):
    """uvicorn with our protocol, and a stop with an end."""

    def __init__(self, service: Service) -> None:
        options = service.options
        super().__init__(
            uvicorn.Config(
                create_app(service),
                http=partial(Protocol, options=options),  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=options.keepalive,  # type: ignore[arg-type]
            )
        )
        self._service = service
        self.dropped = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)  # the second signal: at once
        self._service.drain()
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's would send itself the signal again when all is done, and so end as if killed."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener, let what was accepted finish, within the grace."""
        self._service.drain()
        for server in self.servers:
            server.close()
        end = time.monotonic() + self._service.options.shutdown_grace
        state: Any = self.server_state
        while (state.connections or state.tasks) and time.monotonic() < end:
            for connection in list(state.connections):
                connection.shutdown()
            await asyncio.sleep(_TICK)
        self.dropped = len(state.tasks)
        if self.dropped:
            logger.error(
                "%d requests were dropped after %g s (--shutdown-grace)",
                self.dropped,
                self._service.options.shutdown_grace,
            )
            for task in list(state.tasks):
                task.cancel()
