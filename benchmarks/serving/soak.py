"""A server under twice the load that its full net can take, for minutes: does its memory stay flat?

    python benchmarks/serving/soak.py SECONDS [RESULTS]

`make soak` runs it for SOAK_SECONDS (600). Requests come at random instants, over 128 connections;
the server is a process of its own. Every request must end, none may fail, and what the server holds at the
end (memory, threads, open files, requests, lines of metrics) must be what it held after the first fifth:
memory within a twentieth and 16 MiB. A load that this program could not offer proves nothing, and counts as a
failure. The net is EfficientNet-Lite0 at 112 pixels, heavy enough for that. It is not trained, and its
accuracies are made up: nothing is said of answers here, only of the server.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ANSWERED = {200, 503, 504}
"""What may become of a request: an answer, or a refusal."""
NOT_SENT = -1
"""Stands for a status where this program was too slow to send a request at its instant."""
_CONNECTIONS = 128
SIDE = 112
_WARM, _SHARE, _SLACK_MIB = 0.2, 1.05, 16.0
_FEW, _MOST_NOT_SENT = 8, 0.01


@dataclass(frozen=True)
class Held:
    """What a server holds at a moment.

    Attributes:
        resident_mib: memory.
        threads: of its process.
        descriptors: open files and sockets.
        requests: read, waiting, paused or running.
        metric_lines: of `/metrics`: labels that clients choose would make them grow.
    """

    resident_mib: float
    threads: int
    descriptors: int
    requests: int
    metric_lines: int


@dataclass(frozen=True)
class Soaked:
    """What came of it.

    Attributes:
        seconds: of load.
        offered_hz: requests a second.
        statuses: of responses, by status; 0 for connections that broke, NOT_SENT for requests not sent.
        held: by the server, once a second.
    """

    seconds: float
    offered_hz: float
    statuses: dict[int, int]
    held: list[Held]

    def settled(self, what: str) -> float:
        """An attribute of `Held` after the first fifth: the median of a tenth of the run."""
        at = int(_WARM * len(self.held))
        return self._median(what, self.held[at : at + max(1, len(self.held) // 10)])

    def final(self, what: str) -> float:
        """The same of the last tenth."""
        return self._median(what, self.held[-max(1, len(self.held) // 10) :])

    @property
    def grown(self) -> list[str]:
        """What the server held more of at the end, in words."""
        allowed = {one.name: self.settled(one.name) + _FEW for one in fields(Held)}
        allowed["resident_mib"] = _SHARE * self.settled("resident_mib") + _SLACK_MIB
        allowed["requests"] += 2 * _CONNECTIONS  # those under way
        return [
            f"{name}: {self.settled(name):.0f}, then {self.final(name):.0f}"
            for name, most in allowed.items()
            if self.final(name) > most
        ]

    @property
    def is_offered(self) -> bool:
        """Whether the requests were sent: all but one in a hundred."""
        return self.statuses.get(NOT_SENT, 0) <= _MOST_NOT_SENT * sum(self.statuses.values())

    @staticmethod
    def _median(what: str, held: list[Held]) -> float:
        return float(np.median([getattr(one, what) for one in held]))


def soak(folder: Path, image: bytes, seconds: float, *, deadline_ms: float = 50.0) -> Soaked:
    """Loads a server of the bundle or export in `folder`, twice as fast as its full net answers.

    Args:
        folder: of the net, with a cost table of this machine.
        image: a PNG file's content, which every request sends.
        seconds: of load.
        deadline_ms: of every request.
    """
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "anytimenet", "serve", str(folder)),
            *("--port", "0", "--watch-s", "0", "--log", "errors"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        if "127.0.0.1:" not in said:
            raise RuntimeError("the server did not start")
        port = int(said.split("127.0.0.1:")[1].split(";")[0])
        return asyncio.run(_load(port, server.pid, image, seconds, deadline_ms))
    finally:
        server.terminate()
        server.wait(60)
        if server.stdout is not None:
            server.stdout.close()


async def _load(port: int, pid: int, image: bytes, seconds: float, deadline_ms: float) -> Soaked:
    model = json.loads(await _get(port, "/v1/model"))
    full_ms = model["stages"][-1]["latency_ms"]["median_ms"]
    rate_hz = 2 * 1000 / full_ms * model["threads"]
    head = (
        f"POST /v1/predict?deadline_ms={deadline_ms:g} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        f"content-type: image/png\r\ncontent-length: {len(image)}\r\n\r\n"
    )
    request, statuses, held = head.encode() + image, Counter[int](), list[Held]()
    due: asyncio.Queue[bool] = asyncio.Queue(maxsize=4 * _CONNECTIONS)
    clients = [asyncio.create_task(_client(port, request, due, statuses)) for _ in range(_CONNECTIONS)]
    rng, began = random.Random(0), time.monotonic()
    watching = asyncio.create_task(_watch(port, pid, held, began + seconds))
    at = began
    while at < began + seconds:
        now = time.monotonic()
        while at <= now:
            if due.full():
                statuses[NOT_SENT] += 1
            else:
                due.put_nowait(True)
            at += rng.expovariate(rate_hz)
        await asyncio.sleep(min(max(at - now, 0.001), 0.5))
    for _ in clients:
        await due.put(False)
    await asyncio.wait_for(asyncio.gather(*clients), 60)
    await watching
    return Soaked(seconds, rate_hz, dict(statuses), held)


async def _watch(port: int, pid: int, held: list[Held], until: float) -> None:
    while time.monotonic() < until:
        held.append(await _held(port, pid))
        await asyncio.sleep(1.0)


async def _held(port: int, pid: int) -> Held:
    load = json.loads(await _get(port, "/v1/load"))
    requests = load["under_way"] + sum(
        one["queue"] + one["paused"] + one["running"] for one in load["models"].values()
    )
    process = Path(f"/proc/{pid}")
    return Held(
        _resident_mib(pid),
        len(list((process / "task").iterdir())),
        len(list((process / "fd").iterdir())),
        requests,
        len((await _get(port, "/metrics")).splitlines()),
    )


async def _client(port: int, request: bytes, due: asyncio.Queue[bool], statuses: Counter[int]) -> None:
    reader: asyncio.StreamReader | None = None
    while await due.get():
        try:
            if reader is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            status, _ = await _response(reader)
            statuses[status] += 1
        except (OSError, asyncio.IncompleteReadError):
            statuses[0] += 1
            reader = None
    if reader is not None:
        writer.close()


async def _response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    (length,) = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
    return int(head.split()[1]), await reader.readexactly(length)


async def _get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())
        _, body = await _response(reader)
    finally:
        writer.close()
        await writer.wait_closed()
    return body


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def untrained(folder: Path) -> Path:
    """An exported EfficientNet-Lite0 at 112 pixels, of 100 classes, profiled here."""
    import torch

    import anytimenet as an
    from anytimenet.export import export
    from anytimenet.runtime import load, profile_exported

    torch.manual_seed(0)
    net = an.create_net("efficientnet_lite0", 100)
    look = an.Preprocessing(SIDE, SIDE, 3, (0.5,) * 3, (0.25,) * 3)
    names = [[f"class {at}" for at in range(100)]]
    made_up = [0.5 + 0.05 * stage for stage in range(net.num_stages)]
    bundle = an.Bundle.create(net, class_names=names, preprocessing=look, val_accuracies=made_up)
    found = Path(export(bundle, folder, format="native"))
    profile_exported(load(found), minutes=0.1)
    return found


def noise(side: int) -> bytes:
    """A PNG file of noise."""
    from PIL import Image

    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _keep(found: Soaked, results: Path) -> None:
    """Writes what came of it below `results`, a row for every ten seconds."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from history import commit, place

    from anytimenet.core.files.writing import write_json
    from anytimenet.core.manifest.machine import machine_stamp

    stamp, now = machine_stamp({}), datetime.now(UTC).isoformat(timespec="seconds")
    head = {"benchmark": "serving/soak", "commit": commit(), "measured": now, "machine": stamp}
    load = {"seconds": found.seconds, "offered_hz": found.offered_hz, "statuses": found.statuses}
    rows = [{"at_s": at, **asdict(found.held[at])} for at in range(0, len(found.held), 10)]
    path = place(results, "serving-soak", head["commit"], stamp["id"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**head, **load, "rows": rows})


def main() -> None:
    """Soaks and says what came of it; exits with 1 if the server grew or a request failed."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    with tempfile.TemporaryDirectory(prefix="anytimenet-soak-") as folder:
        found = soak(untrained(Path(folder) / "net"), noise(SIDE), seconds, deadline_ms=100.0)
    counts = ", ".join(f"{count} x {status}" for status, count in sorted(found.statuses.items()))
    print(f"{found.seconds:g} s at {found.offered_hz:.0f} requests a second: {counts}")
    for one in fields(Held):
        print(
            f"{one.name}: {found.settled(one.name):.0f} after a fifth, {found.final(one.name):.0f} at the end"
        )
    if len(sys.argv) > 2:
        _keep(found, Path(sys.argv[2]))
    failed = {status for status in found.statuses if status not in ANSWERED | {NOT_SENT}}
    if found.grown or failed or not found.is_offered:
        told = [*found.grown, *(f"status {status}" for status in failed)]
        sys.exit(f"the server did not hold, or was not loaded: {'; '.join(told) or 'requests not sent'}")


if __name__ == "__main__":
    main()
