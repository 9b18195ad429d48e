"""The static page at `/`, if it is installed; its headers let it load nothing from elsewhere."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

from anytimenet.core.errors import require
from anytimenet.serving.http.bodies import Receive
from anytimenet.serving.http.door import App, Scope, Send
from anytimenet.serving.http.problems import Problem

_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]


def mount_samples(app: Any, folder: Path | None) -> None:
    """Shows the files of `folder` at `/samples`, where the page looks for them; nothing if there is none."""
    if folder is not None:
        files = require("starlette.staticfiles", "serve").StaticFiles(directory=folder)
        app.mount("/samples", _Guarded(files, ()), name="samples")


def mount_page(app: Any, folder: Path) -> None:
    """Shows the files of `folder` at `/`, after all other paths; nothing if it is not there."""
    if folder.is_dir():
        files = require("starlette.staticfiles", "serve").StaticFiles(directory=folder, html=True)
        app.mount("/", _Guarded(files, list(app.router.routes)), name="page")


class _Guarded:
    """Files with the headers that pages need."""

    def __init__(self, files: App, others: Sequence[Any]) -> None:
        self._files, self._others = files, others
        self._partial = require("starlette.routing", "serve").Match.PARTIAL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for other in self._others:  # a path that is there for another method
            if other.matches(scope)[0] == self._partial:
                await other.handle(scope, receive, send)
                return
        if scope["method"] not in ("GET", "HEAD"):
            raise Problem(404, "not_found", "nothing is at this path: GET /openapi.json lists what is")

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        await self._files(scope, receive, guarded)
