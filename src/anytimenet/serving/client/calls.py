"""One question to a server, with its retries, apart from what sends it: threads and asyncio share it."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from typing import Any

import numpy as np
from PIL import Image

from anytimenet.core import checks
from anytimenet.core.errors import DataError
from anytimenet.core.files.regular import read_regular
from anytimenet.serving.client.answers import Answer, ServerError
from anytimenet.serving.client.overhead import Overhead

ImageLike = bytes | str | PathLike[str] | Image.Image | np.ndarray
"""An image file's content or path, a PIL image, or uint8 pixels `(H, W)` or `(H, W, C)`."""

_LARGEST_FILE = 2**30
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.05, 1.0
_STARTS = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"RIFF", "image/webp"),
)


class Call:
    """A question, until it is answered or nothing more can be tried.

    Args:
        deadline_ms: of the caller; None for none.
        timeout_s: for all of it where there is no deadline.
        grace_ms: how long a late answer is waited for.
        params: further parameters; those that are None are left out.
        overhead: of the way to this server.
        clock: seconds.
    """

    def __init__(
        self,
        *,
        deadline_ms: float | None,
        timeout_s: float,
        grace_ms: float,
        params: Mapping[str, Any],
        overhead: Overhead,
        clock: Callable[[], float],
    ) -> None:
        self._deadline_ms = checks.optional(deadline_ms, "deadline_ms", checks.number, 0)
        self._params = {name: value for name, value in params.items() if value is not None}
        self._overhead, self._clock = overhead, clock
        self._began = self._sent = clock()
        self._pause_s = _FIRST_PAUSE_S
        self._ends = self._began + (timeout_s if deadline_ms is None else (deadline_ms + grace_ms) / 1000)

    def params(self) -> dict[str, Any]:
        """The parameters of the next try; its deadline is what is left, less the way.

        Raises:
            ServerError: if nothing is left of the deadline.
        """
        self._sent = self._clock()
        if self._deadline_ms is None:
            return dict(self._params)
        left = self._left_ms() - self._overhead.reserve_ms
        if left <= 0:
            raise ServerError(
                0,
                "expired",
                f"the deadline of {self._deadline_ms:g} ms is over, or shorter than the way there",
            )
        return {**self._params, "deadline_ms": f"{left:.3f}"}

    def sent(self, content: bytes, kind: str) -> dict[str, Any]:
        """What httpx sends in the next try: an image of that type, with `params`, within `timeout_s`.

        Raises:
            ServerError: as `params`.
        """
        return {
            "content": content,
            "headers": {"content-type": kind},
            "params": self.params(),
            "timeout": self.timeout_s,
        }

    @property
    def timeout_s(self) -> float:
        """How long the next try may take."""
        return max(0.001, self._ends - self._clock())

    def answer(self, told: Mapping[str, Any]) -> Answer:
        """The answer in what the server told, by now."""
        now = self._clock()
        found = Answer.of(told, 1000 * (now - self._began), self._deadline_ms)
        if found.final:
            self._overhead.observe(1000 * (now - self._sent), found.server_ms)
        return found

    def pause_s(self, error: ServerError) -> float:
        """Seconds until the next try.

        Raises:
            ServerError: `error`, if another try makes no sense, or there is no time for it.
        """
        if error.status not in (0, 502, 503) or error.reason in ("timeout", "expired"):
            raise error
        if error.retry_after_s is None:
            pause = self._pause_s * random.uniform(0.5, 1.0)  # many clients must not come back together
            self._pause_s = min(2 * self._pause_s, _MOST_PAUSE_S)
        else:
            pause = error.retry_after_s
        left = self._ends - self._clock()
        if self._deadline_ms is not None:
            left = (self._left_ms() - self._overhead.reserve_ms) / 1000
        if pause >= left:
            raise error
        return pause

    def _left_ms(self) -> float:
        return (self._deadline_ms or 0.0) - 1000 * (self._clock() - self._began)


def content_of(image: ImageLike) -> tuple[bytes, str]:
    """The image file of an image, and its type.

    Raises:
        DataError: for what is no image.
    """
    if isinstance(image, str | PathLike):
        try:
            content = read_regular(image, _LARGEST_FILE)
        except OSError as error:
            raise DataError(f"{fspath(image)} cannot be read: {error.strerror or error}") from error
        image = content
    if isinstance(image, bytes):
        return image, next((kind for start, kind in _STARTS if image.startswith(start)), "image/*")
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise DataError(
                f"an array of pixels is uint8 (H, W) or (H, W, C), not {image.dtype} of shape {image.shape}"
            )
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise DataError(f"an image is bytes, a path, a PIL image or pixels, not a {type(image).__name__}")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue(), "image/png"


class Events:
    """Server-sent events, line by line."""

    def __init__(self) -> None:
        self._kind, self._data = "", ""

    def line(self, text: str) -> tuple[str, dict[str, Any]] | None:
        """The event that this line ends, if it ends one."""
        if text.startswith("event: "):
            self._kind = text.removeprefix("event: ")
        elif text.startswith("data: "):
            self._data = text.removeprefix("data: ")
        elif not text and self._data:
            found = self._kind, json.loads(self._data)
            self._kind, self._data = "", ""
            return found
        return None
