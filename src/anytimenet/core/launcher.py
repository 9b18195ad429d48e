"""Which of several processes this one is, as its launcher tells in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping


def launched_count(environment: Mapping[str, str] | None = None) -> int:
    """How many processes a launcher started together; 1 without a launcher.

    `torchrun`, `fabric run` and the processes that training starts by itself all set WORLD_SIZE.

    >>> launched_count({}), launched_count({"WORLD_SIZE": "4", "RANK": "2"})
    (1, 4)
    """
    environment = os.environ if environment is None else environment
    named = "RANK" in environment or "LOCAL_RANK" in environment
    return int(environment.get("WORLD_SIZE", 1)) if named else 1


def launched_rank(environment: Mapping[str, str] | None = None) -> int:
    """Which of them this process is, from 0. The first writes files and talks to people; others are silent.

    >>> launched_rank({}), launched_rank({"WORLD_SIZE": "2", "LOCAL_RANK": "1"})
    (0, 1)
    """
    environment = os.environ if environment is None else environment
    if launched_count(environment) == 1:
        return 0
    return int(environment.get("RANK", environment.get("LOCAL_RANK", 0)))
