"""What every other server runs: the same engine on the same files, always to one stage."""

from __future__ import annotations

import io
import os
from typing import Any

from PIL import Image

from anytimenet.runtime import ExportedNet


class Answering:
    """From the bytes of an image to its label; as cheap as an application can be.

    It reads SERVING_EXPORT, the exported folder, and SERVING_STAGE, the stage that answers.
    """

    def __init__(self) -> None:
        self._net = ExportedNet.load(os.environ["SERVING_EXPORT"])
        self._stage = int(os.environ["SERVING_STAGE"])
        self._names = self._net.manifest.class_names[0]
        self._net.backend.prepare(0, self._stage)

    def __call__(self, content: bytes) -> dict[str, Any]:
        look = self._net.manifest.preprocessing
        with Image.open(io.BytesIO(content)) as image:
            x = look.standardise(look.decode(image)[None])
        backend = self._net.backend
        state, output = backend.run(0, self._stage, backend.begin(x))
        backend.release(state)
        return {"label": self._names[int(output[0][0].argmax())], "stage": self._stage}


def limit() -> float:
    """SERVING_LIMIT: requests that a server may hold, or seconds that they may wait, by server."""
    return float(os.environ["SERVING_LIMIT"])


def port() -> int:
    """SERVING_PORT, on the loopback interface."""
    return int(os.environ["SERVING_PORT"])
