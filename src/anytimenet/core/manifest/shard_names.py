"""What the weight files of a bundle are called: one a stage."""

from __future__ import annotations

import re


def shard_name(stage: int, num_stages: int) -> str:
    """The file of one stage's weights.

    >>> shard_name(2, 6)
    'model-00002-of-00006.safetensors'
    """
    return f"model-{stage:05d}-of-{num_stages:05d}.safetensors"


def is_shard(name: str) -> bool:
    """Whether `name` is that of a stage's weights.

    >>> is_shard("model-00002-of-00006.safetensors")
    True
    """
    return re.fullmatch(r"model-\d{5,}-of-\d{5,}\.safetensors", name) is not None
