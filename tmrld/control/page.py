"""The page in the browser: the built files of `webui/`, read once and kept in memory, compressed.

Nobody needs a token for them: they are the same for everybody and hold nothing of anybody.  Files under ``assets/`` have their
content's hash in the name and never change; everything else is asked about each time (ETag).  The page chooses its views by what
stands behind # in the address, so `/` is the only address that it has.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

FOLDER = Path(__file__).parent / "page"
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""Scripts and styles of ours alone, and no request to another host."""
NOT_BUILT = (
    "The page of tmrld is not built here. In a checkout, `make page` builds it (it needs the network once); "
    "an installed tmrld has it. Everything that it shows the command line tells as well: tmrld run list.\n"
)
MIN_COMPRESSED = 400
"""Bytes below which compressing gains nothing."""


@dataclass(frozen=True)
class PageFile:
    """One file as it is sent."""

    data: bytes
    compressed: bytes | None
    media_type: str
    etag: str
    caching: str


def page_routes(folder: Path = FOLDER) -> APIRouter:
    """Routes of the page's files; of one that says how to build them where there are none."""
    router = APIRouter(include_in_schema=False)
    files = read_files(folder)
    if "/" not in files:
        router.add_api_route("/", _not_built, methods=["GET", "HEAD"])
    for path, file in files.items():
        router.add_api_route(path, _sender(file), methods=["GET", "HEAD"])
    return router


def read_files(folder: Path) -> dict[str, PageFile]:
    """The files by their addresses; index.html is at ``/``.  Empty where the page is not built."""
    if not (folder / "index.html").is_file():
        return {}
    found = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {"/" if name == "index.html" else f"/{name}": _read(name, file) for name, file in found.items()}


def _read(name: str, file: Path) -> PageFile:
    data = file.read_bytes()
    media_type = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}.get(file.suffix)
    packed = gzip.compress(data, 9, mtime=0) if len(data) >= MIN_COMPRESSED else None
    return PageFile(
        data=data,
        compressed=packed,
        media_type=media_type or mimetypes.guess_type(name)[0] or "application/octet-stream",
        etag=f'"{hashlib.sha256(data).hexdigest()[:32]}"',
        caching="public, max-age=31536000, immutable" if name.startswith("assets/") else "no-cache",
    )


def _sender(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        headers = {
            "Cache-Control": file.caching,
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "ETag": file.etag,
            "Vary": "Accept-Encoding",
        }
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        data = file.data
        if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            data = file.compressed
            headers["Content-Encoding"] = "gzip"
        return Response(data, media_type=file.media_type, headers=headers)

    return send


async def _not_built() -> Response:
    return PlainTextResponse(NOT_BUILT, 503)
