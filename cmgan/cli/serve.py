"""`cmgan serve`: a page to paint on, and an HTTP service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmgan.cli.options import Device, Model, Resolution, Threads
from cmgan.cli.render import terminal
from cmgan.config import check_resolution, chosen_model
from cmgan.errors import needs, warn

if TYPE_CHECKING:
    from cmgan.runtime.engine import Engine
    from cmgan.serve.settings import ServeOptions

_EXAMPLES = """Examples:

cmgan serve --open

cmgan serve --model out/model.xml --port 9000

cmgan serve --model out/model.onnx --host 0.0.0.0 --token-file token --allowed-host paint.example.org

curl -F image=@photo.jpg -F mask=@mask.png http://127.0.0.1:8080/api/v1/inpaint -o result.png"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(serve)


def _Limit(flag: str, help: str, **more: Any) -> Any:
    return typer.Option(flag, help=help, rich_help_panel="Limits", **more)


def serve(
    model: Model = None,
    res: Resolution = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0: any free one.")] = 8080,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Ask for the token in this file (or CMGAN_TOKEN).")
    ] = None,
    insecure_no_auth: Annotated[
        bool, typer.Option("--insecure-no-auth", help="Be reached from other machines without a token.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None, typer.Option("--allowed-host", help="Another name of this server (repeatable).")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option("--allow-origin", help="A site whose pages may call (repeatable).")
    ] = None,
    queue: Annotated[int, _Limit("--queue", "Requests that wait; more get 503.")] = 16,
    concurrency: Annotated[int, _Limit("--concurrency", "Requests in work at once.")] = 4,
    batch_window: Annotated[
        float, _Limit("--batch-window", "Milliseconds to wait for windows of other requests; 0: never merge.")
    ] = 0.0,
    batch_max: Annotated[int, _Limit("--batch-max", "Most windows in one call of the engine.")] = 8,
    queue_timeout: Annotated[float, _Limit("--queue-timeout", "Seconds to wait; then 503.")] = 10.0,
    request_timeout: Annotated[float, _Limit("--request-timeout", "Seconds in all; then 504.")] = 60.0,
    header_timeout: Annotated[float, _Limit("--header-timeout", "Seconds for a request's head.")] = 5.0,
    receive_timeout: Annotated[float, _Limit("--receive-timeout", "Seconds for its body; then 408.")] = 20.0,
    keepalive: Annotated[float, _Limit("--keepalive", "Seconds that an idle connection stays.")] = 30.0,
    max_connections: Annotated[int, _Limit("--max-connections", "Connections at once.")] = 256,
    shutdown_grace: Annotated[float, _Limit("--shutdown-grace", "Seconds for what runs when asked to stop.")] = 30.0,
    max_body_bytes: Annotated[int, _Limit("--max-body-bytes", "Of a request.")] = 72 * 2**20,
    max_file_bytes: Annotated[int | None, _Limit("--max-file-bytes", "Of a picture; 64 MiB.")] = None,
    max_pixels: Annotated[int | None, _Limit("--max-pixels", "Of a picture; 33,554,432.")] = None,
    max_side: Annotated[int | None, _Limit("--max-side", "Of its longer side; 8,192.")] = None,
    max_aspect: Annotated[int | None, _Limit("--max-aspect", "Of its sides' ratio; 32.")] = None,
    device: Device = "cpu",
    threads: Threads = 0,
    latency: Annotated[
        bool, typer.Option("--latency", help="OpenVINO: all cores for one picture, not some for each of several.")
    ] = False,
) -> None:
    """Serve a page to paint on and an HTTP API, for this machine only unless --host says otherwise."""
    settings = _settings()
    given = {"max_file_bytes": max_file_bytes, "max_pixels": max_pixels, "max_side": max_side, "max_aspect": max_aspect}
    limits = settings.server_limits(**given)
    token = settings.read_token(token_file) if token_file else os.environ.get("CMGAN_TOKEN")
    options = settings.ServeOptions(
        host=host,
        port=port,
        token=token,
        insecure_no_auth=insecure_no_auth,
        allowed_hosts=tuple(name.lower() for name in allowed_host or ()),
        allow_origins=tuple(allow_origin or ()),
        queue=queue,
        concurrency=concurrency,
        batch_window=batch_window,
        batch_max=batch_max,
        queue_timeout=queue_timeout,
        request_timeout=request_timeout,
        header_timeout=header_timeout,
        receive_timeout=receive_timeout,
        keepalive=keepalive,
        max_connections=max_connections,
        shutdown_grace=shutdown_grace,
        max_body_bytes=max_body_bytes,
        limits=limits,
    )
    from cmgan.runtime.engine import EngineOptions

    running = EngineOptions(device=device, threads=threads, throughput=not latency)
    _run(chosen_model(model, res), res, running, options, open_browser)


def _run(model: str, res: int | None, running: Any, options: ServeOptions, open_browser: bool) -> None:
    from cmgan.runtime.open import open_engine
    from cmgan.serve.run import listen, serve, url_of
    from cmgan.weights import bundled

    listener = listen(options)
    url = url_of(listener)

    def opener() -> Engine:
        engine = open_engine(model, running)
        check_resolution(res, engine.info.resolution)
        return engine

    def ready(engine: Engine) -> None:
        info = engine.info
        if not info.trained:
            warn("untrained", f"the model {info.name} has seeded, untrained weights: it paints nothing sensible")
        terminal.say(f"{info.name} ({info.format}, {info.precision}): {url}")
        sys.stdout.flush()
        if open_browser:
            import webbrowser

            webbrowser.open(url)

    folder = bundled().get(model)
    code = serve(listener, opener, options, ready, folder / "README.md" if folder else None)
    sys.stdout.flush()
    os._exit(code)  # threads that load a model or work for nobody are not waited for


def _settings() -> Any:
    """The module of settings; what it takes to serve must be installed."""
    with needs("cmgan serve", "cmgan[serve]"):
        import fastapi  # noqa: F401
        import httptools  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    from cmgan.serve import settings

    return settings
