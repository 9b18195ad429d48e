"""A server under twice the load that its full net can take, for minutes: does its memory stay flat?

    python benchmarks/serving/soak.py SECONDS

`make soak` runs it for SOAK_SECONDS (600). Requests come at random instants, over 32 connections of loopback;
the server is a process of its own. Every request must end, none may fail, and resident memory at the end must
be that after the first fifth, within a twentieth and 16 MiB. The net is not trained, and its accuracies are
made up: nothing is said of answers here, only of the server.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ANSWERED = {-1, 200, 503, 504}
"""What may become of a request: an answer, or a refusal; -1 are those that this program could not send."""
_CONNECTIONS = 32
_WARM, _SHARE, _SLACK_MIB = 0.2, 1.05, 16.0


@dataclass(frozen=True)
class Soaked:
    """What came of it.

    Attributes:
        seconds: of load.
        offered_hz: requests a second.
        statuses: of responses, by status; 0 for connections that broke.
        memory_mib: resident, a number a second.
    """

    seconds: float
    offered_hz: float
    statuses: dict[int, int]
    memory_mib: list[float]

    @property
    def settled_mib(self) -> float:
        """Memory after the first fifth: the median of a tenth of the run."""
        at = int(_WARM * len(self.memory_mib))
        return float(np.median(self.memory_mib[at : at + max(1, len(self.memory_mib) // 10)]))

    @property
    def final_mib(self) -> float:
        """Memory in the last tenth."""
        return float(np.median(self.memory_mib[-max(1, len(self.memory_mib) // 10) :]))

    @property
    def flat(self) -> bool:
        """Whether memory did not grow."""
        return self.final_mib <= _SHARE * self.settled_mib + _SLACK_MIB


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
    model = await _get(port, "/v1/model")
    full_ms = model["stages"][-1]["latency_ms"]["median_ms"]
    rate_hz = 2 * 1000 / full_ms * model["threads"]
    head = (
        f"POST /v1/predict?deadline_ms={deadline_ms:g} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        f"content-type: image/png\r\ncontent-length: {len(image)}\r\n\r\n"
    )
    request, statuses, memory = head.encode() + image, Counter[int](), list[float]()
    due: asyncio.Queue[bool] = asyncio.Queue(maxsize=4 * _CONNECTIONS)
    clients = [asyncio.create_task(_client(port, request, due, statuses)) for _ in range(_CONNECTIONS)]
    rng, began = random.Random(0), time.monotonic()
    at = seen = began
    while at < began + seconds:
        now = time.monotonic()
        if now >= seen:
            memory.append(_resident_mib(pid))
            seen += 1.0
        while at <= now:
            if due.full():
                statuses[-1] += 1  # this generator is not fast enough: said, and not counted as offered
            else:
                due.put_nowait(True)
            at += rng.expovariate(rate_hz)
        await asyncio.sleep(min(max(at - now, 0.001), 0.5))
    for _ in clients:
        await due.put(False)
    await asyncio.wait_for(asyncio.gather(*clients), 60)
    return Soaked(seconds, rate_hz, dict(statuses), memory)


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


async def _get(port: int, path: str) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())
    _, body = await _response(reader)
    writer.close()
    found: dict[str, Any] = json.loads(body)
    return found


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def untrained(folder: Path) -> Path:
    """An exported net of 32x32 pixels and 100 classes, profiled here."""
    import torch

    import anytimenet as an
    from anytimenet.export import export
    from anytimenet.runtime import load, profile_exported

    torch.manual_seed(0)
    net = an.create_net("isresnext_small", 100, in_channels=3)
    look = an.Preprocessing(32, 32, 3, (0.5,) * 3, (0.25,) * 3)
    names = [[f"class {at}" for at in range(100)]]
    made_up = [0.5 + 0.05 * stage for stage in range(net.num_stages)]
    bundle = an.Bundle.create(net, class_names=names, preprocessing=look, val_accuracies=made_up)
    found = Path(export(bundle, folder, format="onnx"))
    profile_exported(load(found), minutes=0.1)
    return found


def noise(side: int) -> bytes:
    """A PNG file of noise."""
    from PIL import Image

    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Soaks and says what came of it; exits with 1 if memory grew or a request failed."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    with tempfile.TemporaryDirectory(prefix="anytimenet-soak-") as folder:
        found = soak(untrained(Path(folder) / "net"), noise(32), seconds)
    counts = ", ".join(f"{count} x {status}" for status, count in sorted(found.statuses.items()))
    print(f"{found.seconds:g} s at {found.offered_hz:.0f} requests a second: {counts}")
    print(f"memory: {found.settled_mib:.0f} MiB after a fifth, {found.final_mib:.0f} MiB at the end")
    if not found.flat or not set(found.statuses) <= ANSWERED:
        sys.exit("the server did not hold")


if __name__ == "__main__":
    main()
