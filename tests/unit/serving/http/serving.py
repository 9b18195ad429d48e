"""What tests of the server start from: a small real net, its export, a server on a free port of loopback."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

from anytimenet import create_net
from anytimenet.bundle import Bundle
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.export import export
from anytimenet.runtime import load
from anytimenet.serving.http.app import create_app
from anytimenet.serving.http.residents import Resident
from anytimenet.serving.http.running import make_server
from anytimenet.serving.http.settings import Settings
from anytimenet.serving.http.sources import Source
from anytimenet.serving.model_server import ModelServer

SHAPE = (3, 16, 16)
NAMES = tuple(f"class {at}" for at in range(12))


def small_bundle(seed: int = 0) -> Bundle:
    """Three stages, twelve classes; what it answers depends on the seed alone."""
    torch.manual_seed(seed)
    net = create_net("isresnext_tiny", len(NAMES), in_channels=3)
    preprocessing = Preprocessing(SHAPE[1], SHAPE[2], 3, (0.5,) * 3, (0.25,) * 3)
    accuracies = [0.5 + 0.1 * stage for stage in range(net.num_stages)]
    return Bundle.create(net, class_names=[NAMES], preprocessing=preprocessing, val_accuracies=accuracies)


@cache
def _exported(seed: int) -> dict[str, bytes]:
    with TemporaryDirectory() as place:
        folder = Path(export(small_bundle(seed), Path(place) / "export", format="onnx"))
        files = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def export_of(folder: Path, seed: int = 0) -> Path:
    """An exported folder of it, which the test may spoil: exporting takes seconds, writing does not."""
    for name, content in _exported(seed).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def table_of(net: Any, ms: float = 0.5) -> CostTable:
    """A made-up cost table, so that no test waits for a measurement: `ms` for each step of a segment."""
    entries = {
        (start, stop, 1): Latency(ms * (stop - start), ms * (stop - start) * 1.5, ms * (stop - start) * 2, 50)
        for start, stop in net.backend.segments
    }
    return CostTable(
        "cpu", machine_stamp(), "float32", 1, net.manifest.input_shape, entries, backend=net.backend.name
    )


def source_of(folder: Path, name: str = "small", **more: Any) -> Source:
    """The folder as a model that is watched."""

    def read(path: Path) -> tuple[Any, CostTable]:
        net = load(path)
        return net, table_of(net)

    return Source(name, folder, read, threads=1, **more)


def resident_of(net: Any, name: str = "small", *, ms: float = 0.5, **more: Any) -> Resident:
    """A model that stays loaded."""
    return Resident(name, net, ModelServer(net, table=table_of(net, ms), threads=1, **more))


class Running:
    """A server in a thread of its own."""

    def __init__(
        self,
        models: Sequence[Resident],
        settings: Settings,
        sources: Sequence[Source] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = create_app(models, settings, clock=clock)
        self.server = make_server(self.app, settings, sources)
        self.service = self.app.service
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()), daemon=True)
        self.thread.start()
        until = time.monotonic() + 60
        while not self.server.address and time.monotonic() < until:
            time.sleep(0.005)
        assert self.server.address

    @property
    def url(self) -> str:
        return str(self.server.address)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


@contextmanager
def running(
    models: Sequence[Resident], settings: Settings | None = None, sources: Sequence[Source] = (), **more: Any
) -> Iterator[Running]:
    """A server while it is entered."""
    server = Running(models, settings or Settings(port=0, log="errors", watch_s=None), sources, **more)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def client_of(server: Running, **more: Any) -> Iterator[httpx.Client]:
    """A plain HTTP client."""
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False, **more) as client:
        yield client


def png(seed: int = 0, size: tuple[int, int] = (20, 18), format: str = "PNG") -> bytes:
    """An image file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


PNG = {"content-type": "image/png"}


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Until it is so; what a server does after an answer was read takes a moment."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)
