"""The routes: a closed list. Nothing takes a path or an address, nothing loads or stops anything."""

from __future__ import annotations

import base64
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cmgan import __version__
from cmgan.errors import CmganError
from cmgan.serve import protocol_v2
from cmgan.serve.desk import Gone
from cmgan.serve.form import InpaintForm
from cmgan.serve.guard import Guard
from cmgan.serve.pages import load_pages
from cmgan.serve.painting import MEDIA_TYPES, Painted
from cmgan.serve.refusals import HttpRefusal, answer
from cmgan.serve.service import Service

_CLIENT_GONE = 499  # nobody reads it but the log


def create_app(service: Service) -> Guard:
    """The ASGI application of a service."""
    app = FastAPI(title="cmgan", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_exception_handler(CmganError, _refused(service))
    app.add_exception_handler(HTTPException, _no_route)
    for left in (Gone, ClientDisconnect):
        app.add_exception_handler(left, _gone(service))
    app.add_exception_handler(Exception, _bug)  # the guard logs it
    pages = load_pages()
    for path, page in pages.items():
        app.add_api_route(path, _constant(page.content, page.media_type), methods=["GET"], include_in_schema=False)
    _add_api(app, service)
    _add_protocol_v2(app, service)
    return Guard(app, service.options, service.metrics, tuple(pages))


def _add_api(app: FastAPI, service: Service) -> None:
    schema = InpaintForm.model_json_schema(by_alias=False)
    body = {kind: {"schema": schema} for kind in ("multipart/form-data", "application/json")}

    @app.post("/api/v1/inpaint", openapi_extra={"requestBody": {"required": True, "content": body}})
    async def inpaint(request: Request) -> Response:
        """Fill the hole of a picture. One sample comes as the picture itself, several (or with Accept:
        application/json also one) as JSON with base64."""
        painted = await service.inpaint(request)
        if len(painted.files) > 1 or request.headers.get("accept", "").startswith("application/json"):
            return JSONResponse(_document(painted), headers=_facts(painted))
        return Response(painted.files[0], headers=_facts(painted), media_type=painted.media_type)

    @app.get("/api/v1/model")
    async def model() -> dict[str, Any]:
        """What the model is, and the limits of this server."""
        info, options = service.engine.info, service.options
        return {
            "name": info.name,
            "format": info.format,
            "resolution": info.resolution,
            "z_dim": info.z_dim,
            "precision": info.precision,
            "trained": info.trained,
            "weights_sha256": info.weights_sha256,
            "version": __version__,
            "about": service.about(),
            "formats": list(MEDIA_TYPES),
            "limits": {
                "bytes": min(options.limits.max_file_bytes, options.max_body_bytes),
                "pixels": options.limits.max_pixels,
                "side": options.limits.max_side,
                "seconds": options.request_timeout,
            },
        }

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(generate_latest(service.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _add_protocol_v2(app: FastAPI, service: Service) -> None:
    model = f"/v2/models/{protocol_v2.MODEL}"

    @app.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        """200 while the process answers."""
        return {"live": True}

    @app.get("/v2/health/ready")
    @app.get(f"{model}/ready")
    async def ready() -> dict[str, bool]:
        """200 while requests are taken, else 503."""
        service.check_ready()
        return {"ready": True}

    @app.get("/v2")
    async def server() -> dict[str, Any]:
        """The server, as the Open Inference Protocol describes it."""
        return {"name": "cmgan", "version": __version__, "extensions": ["binary_tensor_data"]}

    @app.get(model)
    async def metadata() -> dict[str, Any]:
        """The model's tensors."""
        return protocol_v2.metadata(service.engine.info)

    @app.post(f"{model}/infer")
    async def infer(request: Request) -> Response:
        """Run the model on tensors, JSON or binary."""
        body, headers = await service.infer(request)
        return Response(body, headers=headers)


def _document(painted: Painted) -> dict[str, Any]:
    images = [base64.b64encode(file).decode("ascii") for file in painted.files]
    facts = {"hole": painted.hole, "seconds": painted.seconds, "warnings": painted.warnings}
    return {"images": images, "seeds": painted.seeds, "media_type": painted.media_type, **facts}


def _facts(painted: Painted) -> dict[str, str]:
    """The headers that say how it went; X-Seed is IOPaint's."""
    timing = ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in painted.seconds.items())
    headers = {"X-Seed": str(painted.seeds[0]), "X-Cmgan-Hole": f"{painted.hole:.6f}", "Server-Timing": timing}
    return headers | ({"X-Cmgan-Warning": ", ".join(painted.warnings)} if painted.warnings else {})


def _constant(content: bytes, media_type: str) -> Any:
    async def page() -> Response:
        return Response(content, headers={"Content-Type": media_type})

    return page


def _refused(service: Service) -> Any:
    async def handler(request: Request, error: CmganError) -> Response:
        service.metrics.errors.labels(error.slug).inc()
        return answer(error, request.state.request_id)

    return handler


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slug, message = ("not_found", "there is nothing here; /api lists what there is")
    if error.status_code == 405:
        slug, message = "method", f"{request.method} is not for this path; the Allow header says what is"
    refusal = HttpRefusal(error.status_code, slug, message)
    refusal.headers = dict(error.headers or {})
    return answer(refusal, request.state.request_id)


async def _bug(request: Request, error: Exception) -> Response:
    message = "a bug in cmgan; the server's log has it under this request_id"
    return answer(HttpRefusal(500, "internal", message), request.state.request_id)


def _gone(service: Service) -> Any:
    async def handler(request: Request, error: Exception) -> Response:
        service.metrics.cancelled.inc()
        return Response(status_code=_CLIENT_GONE)

    return handler
