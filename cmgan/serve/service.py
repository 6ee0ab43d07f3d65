"""The state of a running server, and the work behind its routes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from starlette.requests import Request

from cmgan.errors import SystemRefusal
from cmgan.runtime.engine import Engine
from cmgan.runtime.null import ABOUT as NULL_ABOUT
from cmgan.runtime.null import NAME as NULL
from cmgan.serve.batcher import Batcher, TicketEngine
from cmgan.serve.body import media_type, parse_form, parse_json, read_body
from cmgan.serve.desk import Desk, Ticket, unless_gone
from cmgan.serve.form import parse
from cmgan.serve.metrics import Metrics
from cmgan.serve.painting import Painted, paint
from cmgan.serve.protocol_v2 import LENGTH, InferRequest, encode
from cmgan.serve.refusals import HttpRefusal, busy
from cmgan.serve.settings import ServeOptions

_Result = TypeVar("_Result")


class Service:
    """One server: loading at first, then ready, in the end draining."""

    def __init__(self, options: ServeOptions, card: Path | None = None) -> None:
        """`card` is the model's, where it comes with the package."""
        self.options = options
        self._card = card
        self.metrics = Metrics()
        self.desk = Desk(options, self.metrics)
        self.state = "loading"
        self._batcher: Batcher | None = None

    def start(self, engine: Engine) -> None:
        """Warm the engine up; from then on requests are taken."""
        options = self.options
        batcher = Batcher(engine, self.metrics, window=options.batch_window / 1000, most=options.batch_max)
        side, sizes = engine.info.resolution, {1, options.batch_max} if options.batch_window else {1}
        for size in sorted(sizes):
            image, z = np.zeros((size, side, side, 3), np.uint8), np.zeros((size, engine.info.z_dim), np.float32)
            batcher.run(Ticket(3600), image, np.full(image.shape[:3], 255, np.uint8), z)
        self._batcher, self.state = batcher, "ready"
        self.metrics.ready.set(1)

    def drain(self) -> None:
        """Take no new requests."""
        self.state = "draining"
        self.metrics.ready.set(0)

    def close(self, *, finished: bool) -> None:
        """End the threads and close the engine, unless there is unfinished work in them."""
        self.desk.close()
        if finished and self._batcher is not None:
            self._batcher.close()

    @property
    def engine(self) -> Engine:
        """The engine; 503 while it loads. Draining, it still serves what has been received by then."""
        return self._loaded().engine

    def about(self) -> str:
        """What the model is good for, in the words of its card if it has one."""
        info = self.engine.info
        if info.name == NULL:
            return f"It {NULL_ABOUT}."
        if not info.trained:
            return "Its weights are seeded, not trained: it paints nothing sensible."
        if self._card is None:
            return "A model of your own: its card says what it was trained for."
        first = self._card.read_text().split("\n\n")[1]
        return " ".join(first.replace("*", "").replace("`", "").split())

    def check_ready(self) -> None:
        """503 unless new requests are taken."""
        if self.state != "ready":
            raise busy(self.state, f"the server is {self.state}; come again in a second")

    def _loaded(self) -> Batcher:
        if self._batcher is None:
            raise busy("loading", "the server is loading its model; come again in a second")
        return self._batcher

    async def inpaint(self, request: Request) -> Painted:
        """A picture with its hole filled, by what came in the body."""
        kind = media_type(request)
        if kind not in ("multipart/form-data", "application/json"):
            message = f"content type {kind[:40]!r}; send multipart/form-data or application/json"
            raise HttpRefusal(415, "content_type", message)
        ticket = self._ticket(request)
        with self.desk.holding() as hold:
            body = await read_body(request, self.options, hold)
            fields: dict[str, Any] = dict(
                await parse_form(request, body) if kind != "application/json" else parse_json(body)
            )
            form = parse(fields)
            painted = await self._work(request, ticket, lambda engine: paint(engine, form, self.options.limits))
        for stage, seconds in painted.seconds.items():
            self.metrics.stages.labels(stage).observe(seconds)
        self.metrics.holes.observe(painted.hole)
        self.metrics.pictures.inc(len(painted.files))
        return painted

    async def infer(self, request: Request) -> tuple[bytes, dict[str, str]]:
        """The tensors of `POST /v2/models/cmgan/infer`."""
        info, most = self.engine.info, self.options.batch_max
        header = request.headers.get(LENGTH)
        if media_type(request) not in ("application/json", "application/octet-stream", ""):  # Triton's client: none
            raise HttpRefusal(415, "content_type", "send application/json, or application/octet-stream with tensors")
        ticket = self._ticket(request)
        with self.desk.holding() as hold:
            body = await read_body(request, self.options, hold)

            def work(engine: Engine) -> tuple[bytes, dict[str, str]]:
                parsed = InferRequest(body, header, info, most)
                return encode(parsed, engine(**parsed.arrays))

            return await self._work(request, ticket, work)

    def _ticket(self, request: Request) -> Ticket:
        """The deadline of a request, counted from now; the client may only shorten it. Also the first refusals."""
        self._loaded()
        self.desk.check_room()
        text, most = request.headers.get("x-cmgan-timeout"), self.options.request_timeout
        if text is None:
            return Ticket(most)
        try:
            seconds = float(text[:20])
        except ValueError:
            seconds = -1
        if not 0 < seconds <= 86_400:
            raise HttpRefusal(400, "timeout", f"X-Cmgan-Timeout {text[:20]!r}; seconds above 0 are needed")
        return Ticket(min(seconds, most))

    async def _work(self, request: Request, ticket: Ticket, job: Callable[[Engine], _Result]) -> _Result:
        batcher = self._loaded()

        def guarded() -> _Result:
            ticket.check()
            try:
                return job(TicketEngine(batcher, ticket))
            except MemoryError:
                raise SystemRefusal("out_of_memory", "not enough memory for this picture; send a smaller one") from None

        async def gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        return await unless_gone(gone(), self.desk.work(ticket, guarded))
