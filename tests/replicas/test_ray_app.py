"""Two replicas on a local Ray, one killed under load: `make ray`; `make test` has no Ray."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from anytimenet.bundle import Bundle
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.export import export
from anytimenet.nets import create_net
from anytimenet.serving import ray_app
from anytimenet.serving.ray_app import RaySettings

ray = pytest.importorskip("ray", reason="Ray is not installed: make ray installs it in a folder of its own")
serve = pytest.importorskip("ray.serve")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = create_net("isresnext_tiny", num_classes=10).eval()
    look = Preprocessing(16, 16, 3, (0.5,) * 3, (0.5,) * 3)
    bundle = Bundle.create(net, class_names=[[f"class {i}" for i in range(10)]], preprocessing=look)
    folder = tmp_path_factory.mktemp("ray") / "export"
    export(bundle, folder, format="native")
    return folder


@pytest.fixture(scope="module")
def address(exported: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(ray_app.application(RaySettings(str(exported), replicas=2)), route_prefix="/")
    yield f"http://127.0.0.1:{port}/"
    serve.shutdown()
    ray.shutdown()


def picture() -> bytes:
    from io import BytesIO

    from PIL import Image

    held = BytesIO()
    Image.new("RGB", (20, 20), (200, 30, 90)).save(held, "PNG")
    return held.getvalue()


def ask(address: str, deadline_ms: object, content: bytes | None = None) -> httpx.Response:
    params = {} if deadline_ms is None else {"deadline_ms": str(deadline_ms)}
    return httpx.post(address, params=params, content=picture() if content is None else content, timeout=30)


def replicas() -> list[Any]:
    """Names of the actors that answer."""
    from ray.util.state import list_actors

    found = list_actors(filters=[("state", "=", "ALIVE")], limit=1000)
    return [actor for actor in found if actor.class_name.startswith("ServeReplica:default:anytimenet")]


def test_an_answer_is_in_time_and_mistakes_are_told(address: str) -> None:
    answer = ask(address, 2000)
    told = answer.json()
    assert answer.status_code == 200, told
    assert told["label"].startswith("class ")
    assert told["late"] is False
    assert told["stage"] >= 1
    assert httpx.post(address, content=b"no image", timeout=30).status_code == 400
    assert (
        httpx.post(address, params={"deadline_ms": "soon"}, content=picture(), timeout=30).status_code == 400
    )
    refused = httpx.post(address, params={"deadline_ms": 0}, content=picture(), timeout=30)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1


def test_a_replica_that_is_killed_under_load_hangs_nobody(address: str) -> None:
    """Both take requests; one is killed with -9; every request ends, and in the end two answer all."""
    before = replicas()
    assert len(before) == 2
    content, killed_at = picture(), 1.5

    async def load() -> list[tuple[float, int]]:
        ended: list[tuple[float, int]] = []
        begun = time.monotonic()
        async with httpx.AsyncClient(timeout=20, limits=httpx.Limits(max_connections=100)) as client:

            async def send(at: float) -> None:
                await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
                answer = await client.post(address, params={"deadline_ms": 3000}, content=content)
                ended.append((at, answer.status_code))

            async def kill() -> None:
                await asyncio.sleep(killed_at)
                os.kill(before[0].pid, 9)

            await asyncio.gather(kill(), *(send(i / 20) for i in range(160)))
        return ended

    ended = asyncio.run(load())
    assert len(ended) == 160
    codes = Counter(code for _, code in ended)
    assert codes[200] >= 150, codes
    assert set(codes) <= {200, 500, 503}, codes
    assert all(code == 200 for at, code in ended if at < killed_at - 1)

    until = time.monotonic() + 60
    while {one.actor_id for one in replicas()} & {before[0].actor_id} or len(replicas()) < 2:
        assert time.monotonic() < until, "no second replica came"
        time.sleep(0.5)
    answers = [
        httpx.post(address, params={"deadline_ms": 3000}, content=content, timeout=30) for _ in range(20)
    ]
    assert all(answer.status_code == 200 for answer in answers)


def test_both_replicas_take_their_share(address: str) -> None:
    """Under way at the same time, requests go to whom they would be answered by soonest: to both."""
    handle = serve.get_deployment_handle("anytimenet", "default")
    asked = [handle.answer.remote(picture()) for _ in range(40)]
    answers = [one.result(timeout_s=30) for one in asked]
    assert all(answer["stage"] >= 1 for answer in answers)
    stats = [
        ray.get(ray.get_actor(one.name, namespace="serve").record_routing_stats.remote())
        for one in replicas()
    ]
    assert all(one["first_s"] > 0 for one in stats)
