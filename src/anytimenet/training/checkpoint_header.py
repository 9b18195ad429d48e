"""What a checkpoint says beside its tensors, and the digest that tells whether both are what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

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

    >>> read_header('{"epoch": -1}')
    Traceback (most recent call last):
    ValueError: epoch must be a whole number from 0 on, not -1
    """
    try:
        header = json.loads(text)
    except RecursionError as error:
        raise ValueError("its header is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    for name in ("epoch", "batch"):
        _whole(header.get(name), name)
    _kind(header.get("run"), dict, "run")
    progress = _kind(header.get("progress"), dict, "progress")
    _check_best(_kind(progress.get("best"), dict, "progress.best"))
    for place, record in enumerate(_kind(progress.get("history"), list, "progress.history")):
        where = f"progress.history[{place}]"
        _whole(_kind(record, dict, where).get("epoch"), f"{where}.epoch")
        _number(record.get("loss"), f"{where}.loss")
        _numbers(record.get("val"), f"{where}.val")
    for stage, seen in _kind(progress.get("losses"), dict, "progress.losses").items():
        where = f"progress.losses[{stage!r}]"
        if not stage.isdecimal() or len(_numbers(seen, where)) != 2:
            raise ValueError(f"{where} must be the sum and the number of a stage's losses, not {seen!r}")
        _whole(seen[1], where)
    return header


def _check_best(best: dict[str, Any]) -> None:
    _whole(best.get("epoch"), "progress.best.epoch")
    if best["epoch"]:
        _number(best.get("score"), "progress.best.score")
    _numbers(best.get("val"), "progress.best.val")


def _kind(value: Any, wanted: type, name: str) -> Any:
    if not isinstance(value, wanted):
        what = "an object" if wanted is dict else "a list"
        raise ValueError(f"{name} must be {what}, not {value!r:.80}")
    return value


def _whole(value: Any, name: str) -> None:
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} must be a whole number from 0 on, not {value!r:.80}")


def _number(value: Any, name: str) -> None:
    if type(value) not in (int, float):
        raise ValueError(f"{name} must be a number, not {value!r:.80}")


def _numbers(value: Any, name: str) -> list[Any]:
    numbers: list[Any] = _kind(value, list, name)
    for entry in numbers:
        _number(entry, name)
    return numbers
