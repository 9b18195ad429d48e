"""BentoML: one worker; its limit is how many requests it holds before it answers 429."""

from __future__ import annotations

import base64
from typing import Any

import bentoml
from answering import Answering, limit


@bentoml.service(
    workers=1,
    logging={"access": {"enabled": False}},
    traffic={"timeout": 30, "max_concurrency": max(1, int(limit()))},
)
class Net:
    def __init__(self) -> None:
        self.answer = Answering()

    @bentoml.api
    def predict(self, image: str) -> dict[str, Any]:
        return self.answer(base64.b64decode(image))
