"""Answers as they finish, for `for` and for `async for`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Answers(Generic[T]):
    """An iterator over what `following` gives until it gives None.

    `async for` calls it in a worker thread, so that the event loop is free meanwhile. A task that is
    cancelled there does not stop the segment under way: it ends in its thread, and its answer counts.

    >>> left = iter([1, 2])
    >>> list(Answers(lambda: next(left, None)))
    [1, 2]
    """

    def __init__(self, following: Callable[[], T | None]) -> None:
        self._following = following

    def __iter__(self) -> Answers[T]:
        return self

    def __next__(self) -> T:
        answer = self._following()
        if answer is None:
            raise StopIteration
        return answer

    def __aiter__(self) -> Answers[T]:
        return self

    async def __anext__(self) -> T:
        answer = await asyncio.to_thread(self._following)
        if answer is None:
            raise StopAsyncIteration
        return answer
