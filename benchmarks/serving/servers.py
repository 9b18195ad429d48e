"""Servers as processes: started, put on the core that is measured, asked until they answer, and ended."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from serving.generator import drive
from serving.wire import encode

HERE = Path(__file__).parent
POLICIES = ("anytime", "full", "full_or_refuse", "stage_1", "slackfit", "edgeserving")
PEERS = {"bentoml": (1, 3), "litserve": (0.3, 0.7), "ray_serve": (1, 3)}
"""Their limits: for LitServe how long a request may wait, as a share of the deadline; else requests held."""


@dataclass(frozen=True)
class Kind:
    """A server and how it is asked.

    Attributes:
        name: for tables.
        command: to start it; {port} is filled in.
        environment: beside this process's own.
        json: whether images go in base64 in JSON, or as they are.
        target: of the requests.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    json: bool
    target: str

    def request(self, content: bytes) -> bytes:
        """An image as this server reads it."""
        if not self.json:
            return encode(self.target, content, "image/png")
        body = json.dumps({"image": base64.b64encode(content).decode("ascii")}).encode()
        return encode(self.target, body, "application/json")


def ours(export: Path, policy: str, deadline_ms: float) -> Kind:
    """Our server under one of its policies, one engine thread."""
    command = (
        sys.executable,
        "-m",
        "anytimenet",
        "serve",
        f"net={export}",
        "--policy",
        policy,
        "--port",
        "{port}",
    )
    more = ("--threads", "1", "--log", "errors", "--max-concurrent", "4096", "--watch-s", "0")
    return Kind(policy, command + more, {}, False, f"/v1/predict?top=1&deadline_ms={deadline_ms:g}")


def peer(name: str, export: Path, stage: int, limit: float, packages: Path) -> Kind:
    """Another server around one stage of the same export, with the same engine.

    Args:
        name: of PEERS.
        export: the folder.
        stage: that always answers.
        limit: of its queue.
        packages: folder of folders that `pip install --target` filled.
    """
    path = os.pathsep.join((str(packages / name.partition("_")[0]), str(HERE / "peers")))
    environment = {
        "PYTHONPATH": path,
        "SERVING_EXPORT": str(export),
        "SERVING_STAGE": str(stage),
        "SERVING_LIMIT": str(limit),
        "BENTOML_DO_NOT_TRACK": "True",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command: tuple[str, ...] = (sys.executable, str(HERE / "peers" / f"{name}_app.py"))
    if name == "bentoml":
        app = str(HERE / "peers")
        command = (sys.executable, "-m", "bentoml", "serve", "bentoml_app:Net", "--working-dir", app)
        command += ("--host", "127.0.0.1", "--port", "{port}", "--timeout", "30")
    return Kind(name, command, environment, name != "ray_serve", "/predict")


@contextmanager
def running(kind: Kind, image: bytes, core: int, patience_s: float = 90) -> Iterator[tuple[str, int]]:
    """The address of the server once it answers, with all its processes on `core`; they end at the end."""
    port = _free_port()
    environment = {**os.environ, **kind.environment, "SERVING_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [part.format(port=port) for part in kind.command]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    os.set_blocking(process.stderr.fileno(), False)  # type: ignore[union-attr]
    address = "127.0.0.1", port
    try:
        _wait(address, kind.request(image), process, patience_s)
        settle(process.pid, core)
        drive(address, [kind.request(image)] * 30, np.linspace(0, 0.6, 30), patience_s=10)  # warm
        yield address
    finally:
        _end(process)


def _wait(
    address: tuple[str, int], request: bytes, process: subprocess.Popen[bytes], patience_s: float
) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if drive(address, [request], np.zeros(1), patience_s=5).status[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    told = (process.stderr.read() or b"").decode(errors="replace")[-2000:]  # type: ignore[union-attr]
    raise RuntimeError(f"{process.args} does not answer:\n{told}")


def _family(pid: int) -> set[int]:
    """Processes of its session: what it started, too."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == pid:
                found.add(int(entry.name))
    # Ray's own processes have sessions of their own: they are found by their ancestry.
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    grew = True
    found.add(pid)
    while grew:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found


def settle(pid: int, core: int) -> None:
    """All threads of all its processes on one core, before those of other people."""
    for member in _family(pid):
        # Linux shares a core between sessions first, and then between the processes of each.
        with suppress(OSError):
            Path(f"/proc/{member}/autogroup").write_text(str(PRIORITY))
        for task in Path(f"/proc/{member}/task").glob("*"):
            try:
                os.sched_setaffinity(int(task.name), {core})
                os.setpriority(os.PRIO_PROCESS, int(task.name), PRIORITY)
            except OSError:
                continue


PRIORITY = -20
"""Nice value of what is measured, and of its session, where it may be set: the machine may be shared."""


def _end(process: subprocess.Popen[bytes]) -> None:
    family = _family(process.pid)
    for member in family:
        _signal(member, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    for member in family:
        if Path(f"/proc/{member}").exists():
            _signal(member, signal.SIGKILL)
    process.wait()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
