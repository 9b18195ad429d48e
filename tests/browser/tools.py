"""What tests in Node and in a browser share: the programs, scripts that report JSON, a small server of files.

`make page-tools` installs the packages of `package.json`; Node and Chromium are the system's. What is missing
skips a test, or fails it where ANYTIMENET_REQUIRE_BROWSER=1.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
WEB = REPOSITORY / "src" / "anytimenet" / "native" / "web"
PACKAGES = HERE / "node_modules"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OLDEST_NODE = 18

Change = Callable[[bytes], bytes]
"""What a server makes of a file before it sends it."""


def node() -> str:
    """The path of Node."""
    found = shutil.which("node")
    if found is None or _major(found) < OLDEST_NODE:
        _missing(f"Node {OLDEST_NODE} or later")
    return str(found)


def browser() -> str:
    """The path of a Chromium, for `chromium.launch`; the packages that steer it are there, too."""
    node()
    named = os.environ.get("ANYTIMENET_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        _missing("Chromium")
    if not (PACKAGES / "playwright-core").is_dir():
        _missing("playwright-core (make page-tools)")
    return str(found)


def run_script(script: Path | str, *arguments: object, given: Any = None, seconds: float = 120) -> Any:
    """What a script of Node prints, read as JSON.

    Args:
        script: a file beside this one, or any path.
        arguments: its arguments, as words.
        given: is written to its standard input as JSON.
        seconds: after which it has failed.
    """
    done = subprocess.run(
        [node(), str(HERE / script), *map(str, arguments)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    return json.loads(done.stdout)


def in_browser(script: Path | str, *arguments: object, given: Any = None, seconds: float = 120) -> Any:
    """The same of a script that opens a browser: its first argument is the path of it."""
    return run_script(script, browser(), *arguments, given=given, seconds=seconds)


@dataclass
class Served:
    """A running server.

    Attributes:
        url: its root, with a slash at the end.
        changes: by path below the root, what is sent in place of a file. It may be changed at any time.
        requests: paths that were asked for, in order.
    """

    url: str
    changes: dict[str, Change] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@contextmanager
def serve(folders: Mapping[str, Path]) -> Iterator[Served]:
    """Serves folders on a free port of this machine.

    Args:
        folders: by the first part of the path below the root.
    """
    served = Served("")
    handler = functools.partial(_Handler, folders, served)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012  # as in the class that it extends
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def __init__(self, folders: Mapping[str, Path], served: Served, *arguments: Any) -> None:
        self._folders, self._served = folders, served
        super().__init__(*arguments)

    def do_GET(self) -> None:
        path = self.path.split("?")[0].lstrip("/")
        self._served.requests.append(path)
        first, _, rest = path.partition("/")
        folder = self._folders.get(first)
        file = folder / rest if folder else None
        if file is None or not file.is_file() or ".." in rest.split("/"):
            self.send_error(404)
            return
        data = self._served.changes.get(path, lambda sent: sent)(file.read_bytes())
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(file)))
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        try:
            self.wfile.write(data)
        except ConnectionError:  # whoever asked has gone
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


def _major(program: str) -> int:
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.strip().lstrip("v").split(".")[0])


def _missing(what: str) -> None:
    if os.environ.get("ANYTIMENET_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{what} is needed and not here")
    pytest.skip(f"{what} is not here")
