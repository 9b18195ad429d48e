"""The static page at `/`, if it is installed; its headers let it load nothing from elsewhere."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from anytimenet.core.errors import require
from anytimenet.serving.http.bodies import Receive
from anytimenet.serving.http.door import App, Scope, Send

_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]


def mount_page(app: Any, folder: Path) -> None:
    """Shows the files of `folder` at `/`, after all other paths; nothing if it is not there."""
    if folder.is_dir():
        files = require("starlette.staticfiles", "serve").StaticFiles(directory=folder, html=True)
        app.mount("/", _Guarded(files), name="page")


class _Guarded:
    """Files with the headers that pages need."""

    def __init__(self, files: App) -> None:
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        await self._files(scope, receive, guarded)
