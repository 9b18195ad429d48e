"""Ray Serve: one replica, one request in it at a time; its limit is how many wait before it answers 503."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import ray
from answering import Answering, limit, port
from ray import serve
from starlette.requests import Request


@serve.deployment(
    num_replicas=1,
    max_ongoing_requests=1,
    max_queued_requests=max(1, int(limit())),
    ray_actor_options={"num_cpus": 0.1},
)
class Net:
    def __init__(self) -> None:
        self.answer = Answering()

    async def __call__(self, request: Request) -> dict[str, Any]:
        return self.answer(await request.body())


if __name__ == "__main__":
    names = ("SERVING_EXPORT", "SERVING_STAGE", "PYTHONPATH", "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in names}
    environment["PYTHONPATH"] += os.pathsep + sys.path[0]
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
        runtime_env={"env_vars": environment},
        logging_level="error",
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port()})
    serve.run(Net.bind(), route_prefix="/predict")
    while True:
        time.sleep(1)
