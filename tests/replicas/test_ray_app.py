"""Two replicas on a local Ray, one killed under load: `make ray`; `make test` has no Ray."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import torch

from anytimenet.bundle import Bundle
from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.export import export
from anytimenet.nets import create_net
from anytimenet.serving import ray_app
from anytimenet.serving.ray_app import RaySettings
from anytimenet.serving.request import Overloaded

for _part in (
    "raylet_start_wait_time_s",
    "gcs_rpc_server_connect_timeout_s",
    "gcs_server_request_timeout_seconds",
):
    os.environ.setdefault(f"RAY_{_part}", "300")
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
    # On a busy machine the parts of Ray start in minutes; the smallest store that Ray takes is enough.
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20)
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


def replicas() -> list[str]:
    """Names of the actors that answer."""
    names = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True)]
    return sorted(name for name in names if name.startswith("SERVE_REPLICA::default#anytimenet"))


def processes() -> list[int]:
    """Processes of those actors: Ray gives them this title."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if (
                entry.name.isdigit()
                and b"ServeReplica:default:anytimenet" in (entry / "cmdline").read_bytes()
            ):
                found.append(int(entry.name))
    return found


def wait_for_two(seconds: float = 180.0) -> None:
    """Until Ray has two replicas that answer."""
    until = time.monotonic() + seconds
    while serve.status().applications["default"].deployments["anytimenet"].replica_states != {"RUNNING": 2}:
        assert time.monotonic() < until, "there are not two replicas"
        time.sleep(0.5)


def stats() -> list[dict[str, float]]:
    """What replicas tell the router."""
    actors = [ray.get_actor(name, namespace="serve") for name in replicas()]
    return [ray.get(actor.record_routing_stats.remote()) for actor in actors]


def test_an_answer_is_in_time_and_mistakes_are_told(address: str) -> None:
    answer = ask(address, 2000)
    told = answer.json()
    assert answer.status_code == 200, told
    assert told["label"].startswith("class ")
    assert told["late"] is False
    assert told["stage"] >= 1
    assert ask(address, 0).status_code == 504


@pytest.mark.parametrize(
    ("params", "content", "status"),
    [
        ({}, b"no image", 400),
        ({"deadline_ms": "soon"}, None, 400),
        ({"deadline_ms": "nan"}, None, 400),
        ({"min_stage": "0"}, None, 400),
        ({"min_stage": "inf"}, None, 400),
        ({"min_stage": "99"}, None, 400),
        ({"stream": "true"}, None, 400),
        ({}, bytes(11 * 2**20), 413),
    ],
)
def test_mistakes_are_told_and_nothing_else_is(
    address: str, params: dict[str, str], content: bytes | None, status: int
) -> None:
    found = httpx.post(address, params=params, content=content or picture(), timeout=60)
    assert found.status_code == status, found.text
    assert found.json()["reason"] in ("bad_request", "bad_image", "too_large")
    assert "0x" not in found.text


def test_a_replica_that_is_killed_under_load_hangs_nobody(address: str) -> None:
    """Both take requests; one is killed with -9; every request ends, and in the end two answer all."""
    before, running = replicas(), processes()
    assert len(before) == len(running) == 2
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
                os.kill(running[0], 9)

            await asyncio.gather(kill(), *(send(i / 20) for i in range(160)))
        return ended

    ended = asyncio.run(load())
    assert len(ended) == 160
    codes = Counter(code for _, code in ended)
    assert codes[200] >= 150, codes
    assert set(codes) <= {200, 500, 503}, codes
    assert all(code == 200 for at, code in ended if at < killed_at - 1)

    wait_for_two()
    assert len(set(replicas()) & set(before)) == 1
    answers = [
        httpx.post(address, params={"deadline_ms": 3000}, content=content, timeout=30) for _ in range(20)
    ]
    assert all(answer.status_code == 200 for answer in answers)


def test_both_replicas_take_their_share(address: str) -> None:
    """Under way at the same time, requests go to whom they would be answered by soonest: to both."""
    wait_for_two()
    before = sum(one["answered"] for one in stats())
    handle = serve.get_deployment_handle("anytimenet", "default")
    asked = [handle.answer.remote(picture()) for _ in range(40)]
    answers = [one.result(timeout_s=60) for one in asked]
    assert all(answer["stage"] >= 1 for answer in answers)
    told = stats()
    assert sum(one["answered"] for one in told) - before == 40
    assert all(one["answered"] > 0 and one["first_s"] > 0 for one in told)


def test_errors_come_through_a_handle_as_they_are(address: str) -> None:
    handle = serve.get_deployment_handle("anytimenet", "default")
    with pytest.raises(DataError, match="its content is none of"):
        handle.answer.remote(b"no image").result(timeout_s=60)
    with pytest.raises(Overloaded) as refused:
        handle.answer.remote(picture(), deadline_ms=0).result(timeout_s=60)
    assert refused.value.reason == "expired"
