"""A net, its export and a server that tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.unit.serving.http.serving import Running, client_of, export_of, resident_of, running

from anytimenet.runtime import load
from anytimenet.runtime.exported.net import ExportedNet

pytest.importorskip("fastapi")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_of(tmp_path_factory.mktemp("served") / "export")


@pytest.fixture(scope="session")
def net(exported: Path) -> ExportedNet:
    return load(exported)


@pytest.fixture(scope="session")
def server(net: ExportedNet) -> Iterator[Running]:
    """One that no test changes."""
    with running([resident_of(net)]) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client
