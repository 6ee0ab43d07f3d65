"""The packaged files of the page, each under one fixed path."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class Page:
    """A file and what it is."""

    content: bytes
    media_type: str


def load_pages() -> dict[str, Page]:
    """Every file of `page/` by its path: `/` is the painting page, `/api` the page about the API, `/static/NAME` the
    rest."""
    pages = {}
    for file in sorted(files("cmgan.serve").joinpath("page").iterdir(), key=lambda file: file.name):
        extension = file.name.rpartition(".")[2]
        path = {"index.html": "/", "api.html": "/api"}.get(file.name, f"/static/{file.name}")
        pages[path] = Page(file.read_bytes(), _MEDIA_TYPES[f".{extension}"])
    return pages
