"""Trying again, and the words for a disk that is full or cannot be written."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from anytimenet.core.delivery.patience import Patience
from anytimenet.core.errors import DeliveryError, UnreachableError

T = TypeVar("T")
_PROGRESS = 4096
"""Bytes by which a try must have come further; a server that sends less is as good as silent."""

_SPARE = 16 * 2**20
"""Bytes that stay free on the disk."""

_log = logging.getLogger(__name__)


def with_tries(
    patience: Patience,
    sleep: Callable[[float], object],
    work: Callable[[], T],
    came: Callable[[], int] = lambda: 0,
) -> T:
    """What `work` gives, tried again while the way is cut; tries that came further do not count.

    Args:
        patience: how often, and how long to wait in between.
        sleep: waits so many seconds.
        work: raises UnreachableError when it may be tried again.
        came: bytes that have come so far.

    Raises:
        UnreachableError: that of the last try.
    """
    tries = 0
    while True:
        before = came()
        try:
            return work()
        except UnreachableError as error:
            tries = 1 if came() >= before + _PROGRESS else tries + 1
            if tries >= patience.tries:
                raise
            _log.info("%s; trying again", error)
            sleep(patience.pause_after(tries))


def check_space(folder: Path, needed: int) -> None:
    """Raises DeliveryError unless so many bytes can be written into `folder`, which exists."""
    free = shutil.disk_usage(folder).free
    if needed and needed + _SPARE > free:
        raise DeliveryError(
            f"{folder} has {free:,} bytes free and {needed:,} are to come: make room, or choose another "
            "cache folder ($ANYTIMENET_CACHE)"
        )


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Errors of the disk become DeliveryError."""
    try:
        yield
    except DeliveryError:
        raise
    except OSError as error:
        raise DeliveryError(
            f"{place} cannot be written ({error.strerror or error}): make room, or choose another cache "
            "folder ($ANYTIMENET_CACHE)"
        ) from error
