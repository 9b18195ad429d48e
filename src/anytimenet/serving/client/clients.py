"""`Client` and `AsyncClient`: long for there are two, which do the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from anytimenet.core import checks
from anytimenet.core.errors import require
from anytimenet.serving.client.answers import Answer, ServerError
from anytimenet.serving.client.calls import Call, Events, ImageLike, content_of
from anytimenet.serving.client.overhead import Overhead

_SMALLEST_ERROR, _PREDICT = 400, "/v1/predict"


class _Common:
    """What both have.

    Args:
        url: of the server, such as "http://127.0.0.1:8000".
        api_key: if the server asks for one; it is sent in a header.
        timeout_s: of questions without a deadline, retries included.
        grace_ms: how long an answer is waited for that comes after its deadline.
        options: of httpx's client, such as `verify` or `transport`.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        grace_ms: float = 1000.0,
        options: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._httpx = require("httpx", "client")
        self._timeout_s = checks.number(timeout_s, "timeout_s", above=0)
        self._grace_ms = checks.number(grace_ms, "grace_ms", 0)
        self._overhead, self._clock = Overhead(), clock
        self._options: dict[str, Any] = {
            "base_url": checks.words(url, "url"),
            "headers": {} if api_key is None else {"authorization": f"Bearer {api_key}"},
            "trust_env": False,
            **(options or {}),
        }

    @property
    def reserve_ms(self) -> float:
        """What is kept free of deadlines for the way to the server and back."""
        return self._overhead.reserve_ms

    def _call(self, deadline_ms: float | None, params: Mapping[str, Any]) -> Call:
        return Call(
            deadline_ms=deadline_ms,
            timeout_s=self._timeout_s,
            grace_ms=self._grace_ms,
            params=params,
            overhead=self._overhead,
            clock=self._clock,
        )

    def _unreachable(self, error: Exception) -> ServerError:
        if isinstance(error, self._httpx.TimeoutException):
            return ServerError(0, "timeout", "no answer came in time")
        return ServerError(0, "unreachable", f"the server cannot be reached ({type(error).__name__})")


class Client(_Common):
    """Asks a server; may be used from several threads.

    The time to the server and back, as it was measured, is subtracted from deadlines. A server that is full,
    or that is being restarted, is asked again as long as the deadline allows, and when it said to come again.

    Example::

        with Client("http://127.0.0.1:8000") as client:
            answer = client.predict("cat.jpg", deadline_ms=50)
            answer.label, answer.stage, answer.late
    """

    def __init__(self, url: str, **more: Any) -> None:
        super().__init__(url, **more)
        self._client = self._httpx.Client(**self._options)

    def predict(
        self,
        image: ImageLike,
        *,
        deadline_ms: float | None = None,
        model: str | None = None,
        min_stage: int | None = None,
        top: int | None = None,
        priority: int | None = None,
    ) -> Answer:
        """The answer for one image.

        Args:
            image: a file's content or path, a PIL image, or uint8 pixels `(H, W, C)`.
            deadline_ms: from this call to its return.
            model: its name, where the server has several.
            min_stage: no earlier stage answers.
            top: classes that are told; 0 for all.
            priority: higher ones are served first where not everybody can be.

        Raises:
            ServerError: if there is no answer, or none in time.
            DataError: for what is no image.
        """
        content = content_of(image)
        call = self._call(
            deadline_ms, {"model": model, "min_stage": min_stage, "top": top, "priority": priority}
        )
        while True:
            try:
                return call.answer(self._post(call, content))
            except ServerError as error:
                pause = call.pause_s(error)
            time.sleep(pause)

    def stream(
        self, image: ImageLike, *, deadline_ms: float | None = None, model: str | None = None
    ) -> Iterator[Answer]:
        """Every stage as it comes, and at last the answer that stands.

        Raises:
            ServerError: if there is no answer; nothing is tried again.
        """
        content = content_of(image)
        call, events = self._call(deadline_ms, {"model": model, "stream": True}), Events()
        try:
            with self._client.stream("POST", _PREDICT, **call.sent(*content)) as response:
                if response.status_code >= _SMALLEST_ERROR:
                    raise ServerError.of(response.status_code, response.read(), response.headers)
                for line in response.iter_lines():
                    if (event := events.line(line)) is not None:
                        yield _answer_in(call, event)
        except self._httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def model(self, name: str | None = None) -> dict[str, Any]:
        """What the server tells of a model.

        Raises:
            ServerError: if it tells nothing.
        """
        return self._get("/v1/model", {} if name is None else {"model": name})

    def load(self) -> dict[str, Any]:
        """How busy the server is.

        Raises:
            ServerError: if it tells nothing.
        """
        return self._get("/v1/load", {})

    def close(self) -> None:
        """Ends its connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _post(self, call: Call, content: tuple[bytes, str]) -> dict[str, Any]:
        try:
            response = self._client.post(_PREDICT, **call.sent(*content))
        except self._httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return _told(response)

    def _get(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return _told(self._client.get(path, params=params, timeout=self._timeout_s))
        except self._httpx.HTTPError as error:
            raise self._unreachable(error) from error


class AsyncClient(_Common):
    """`Client` for asyncio: the same methods, to be awaited.

    Example::

        async with AsyncClient("http://127.0.0.1:8000") as client:
            answer = await client.predict("cat.jpg", deadline_ms=50)
    """

    def __init__(self, url: str, **more: Any) -> None:
        super().__init__(url, **more)
        self._client = self._httpx.AsyncClient(**self._options)

    async def predict(
        self,
        image: ImageLike,
        *,
        deadline_ms: float | None = None,
        model: str | None = None,
        min_stage: int | None = None,
        top: int | None = None,
        priority: int | None = None,
    ) -> Answer:
        """The answer for one image; see `Client.predict`.

        Raises:
            ServerError: if there is no answer, or none in time.
            DataError: for what is no image.
        """
        content = content_of(image)
        call = self._call(
            deadline_ms, {"model": model, "min_stage": min_stage, "top": top, "priority": priority}
        )
        while True:
            try:
                return call.answer(await self._post(call, content))
            except ServerError as error:
                pause = call.pause_s(error)
            await asyncio.sleep(pause)

    async def stream(
        self, image: ImageLike, *, deadline_ms: float | None = None, model: str | None = None
    ) -> AsyncIterator[Answer]:
        """Every stage as it comes, and at last the answer that stands.

        Raises:
            ServerError: if there is no answer; nothing is tried again.
        """
        content = content_of(image)
        call, events = self._call(deadline_ms, {"model": model, "stream": True}), Events()
        try:
            async with self._client.stream("POST", _PREDICT, **call.sent(*content)) as response:
                if response.status_code >= _SMALLEST_ERROR:
                    raise ServerError.of(response.status_code, await response.aread(), response.headers)
                async for line in response.aiter_lines():
                    if (event := events.line(line)) is not None:
                        yield _answer_in(call, event)
        except self._httpx.HTTPError as error:
            raise self._unreachable(error) from error

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def _post(self, call: Call, content: tuple[bytes, str]) -> dict[str, Any]:
        try:
            response = await self._client.post(_PREDICT, **call.sent(*content))
        except self._httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return _told(response)


def _told(response: Any) -> dict[str, Any]:
    if response.status_code >= _SMALLEST_ERROR:
        raise ServerError.of(response.status_code, response.content, response.headers)
    found: dict[str, Any] = response.json()
    return found


def _answer_in(call: Call, event: tuple[str, dict[str, Any]]) -> Answer:
    kind, told = event
    if kind == "error":
        raise ServerError(200, told["reason"], told["error"], told.get("retry_after_s"))
    return call.answer(told)
