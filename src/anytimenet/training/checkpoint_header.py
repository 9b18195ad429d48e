"""What a checkpoint says beside its tensors, and the digest that tells whether both are what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from anytimenet.core.checks import number
from anytimenet.core.records import from_json, stored

FORMAT = "anytimenet-checkpoint-2"
UNHASHED_FORMAT = "anytimenet-checkpoint-1"
"""Written before checkpoints had a digest."""


def digest_of(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Hexadecimal SHA-256 over the header and the name, number format, shape and bytes of every tensor.

    >>> digest_of("{}", {"a": torch.zeros(2)}) == digest_of("{}", {"a": torch.zeros(2, 1)})
    False
    """
    digest = hashlib.sha256(f"{FORMAT} {len(header.encode())} {header}".encode())
    for name, tensor in sorted(tensors.items()):
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(data.numpy().data)
    return digest.hexdigest()


def read_header(text: str) -> dict[str, Any]:
    """The header from its JSON text, with every entry that a run reads.

    Raises:
        ValueError: for text that is no such header; it says which entry is wrong.

    >>> read_header('{"epoch": -1, "batch": 0, "run": {}, "progress": {}}')
    Traceback (most recent call last):
    ValueError: epoch must be at least 0, not -1
    """
    try:
        header = json.loads(text)
    except RecursionError as error:
        raise ValueError("its header is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"its header is no JSON: {error}") from error
    from_json(_Header, header)
    found: dict[str, Any] = header
    return found


@dataclass(frozen=True)
class _Best:
    epoch: int
    val: tuple[float, ...]
    score: Any = field(default=None, metadata=stored(later=True))  # none before the first epoch

    def __post_init__(self) -> None:
        if self.epoch or self.score is not None:
            number(self.score, "score")


@dataclass(frozen=True)
class _Epoch:
    epoch: int
    loss: float
    val: tuple[float, ...]


@dataclass(frozen=True)
class _Progress:
    best: _Best
    history: tuple[_Epoch, ...]
    losses: dict[str, tuple[float, int]]  # of each stage their sum and number

    def __post_init__(self) -> None:
        if not all(stage.isdecimal() for stage in self.losses):
            raise ValueError(f"losses must be those of stages, not of {sorted(self.losses)}")


@dataclass(frozen=True)
class _Header:
    """What a run reads of a header; what else it holds is passed over."""

    epoch: int
    batch: int
    run: dict[str, Any]
    progress: _Progress
