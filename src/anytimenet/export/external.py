"""Weights of a graph that lie in files beside it, told in few bytes.

An entry for each tensor, with its file, offset and length, takes a hundred bytes, and small nets have
thousands of tensors. So what a graph reads of a file is one tensor, which a Split node divides; the loader
folds it.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper

from anytimenet.export.stored import Stored

_WORTH_A_SPLIT = 3
_BYTES = 4


@dataclass(frozen=True)
class _Flat:
    name: str
    offset: int
    length: int


class External:
    """What a graph reads of the weight files.

    Args:
        new_name: gives a name that begins with its argument.
    """

    def __init__(self, new_name: Callable[[str], str]) -> None:
        self._new_name = new_name
        self._files: dict[str, dict[tuple[int, int], _Flat]] = {}

    def flat(self, piece: Stored) -> str:
        """The name of its numbers as a vector."""
        found = self._files.setdefault(piece.file, {})
        place = piece.offset, prod(piece.shape)
        if place not in found:
            found[place] = _Flat(self._new_name("w"), *place)
        return found[place].name

    def written(
        self, read: Set[str], constant: Callable[[np.ndarray], str]
    ) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
        """Nodes and tensors that give the vectors that are read."""
        nodes: list[onnx.NodeProto] = []
        tensors: list[TensorProto] = []
        for file, places in sorted(self._files.items()):
            flats = sorted(
                (each for each in places.values() if each.name in read), key=lambda each: each.offset
            )
            apart, alone = _apart(flats)
            if len(apart) < _WORTH_A_SPLIT:
                apart, alone = [], flats
            tensors += [_tensor(each.name, file, each.offset, each.length) for each in alone]
            if apart:
                end = apart[-1].offset + _BYTES * apart[-1].length
                whole = self._new_name("f")
                tensors.append(_tensor(whole, file, apart[0].offset, (end - apart[0].offset) // _BYTES))
                names, sizes = self._divided(apart)
                nodes.append(
                    helper.make_node("Split", [whole, constant(np.array(sizes, np.int64))], names, axis=0)
                )
        return nodes, tensors

    def _divided(self, flats: list[_Flat]) -> tuple[list[str], list[int]]:
        """Names and lengths of the vectors, and of what lies between them."""
        names, sizes, at = [], [], flats[0].offset
        for each in flats:
            if each.offset > at:
                names.append(self._new_name("g"))
                sizes.append((each.offset - at) // _BYTES)
            names.append(each.name)
            sizes.append(each.length)
            at = each.offset + _BYTES * each.length
        return names, sizes


def _apart(flats: list[_Flat]) -> tuple[list[_Flat], list[_Flat]]:
    """Those that do not overlap, in order, and the others."""
    apart: list[_Flat] = []
    alone: list[_Flat] = []
    for each in flats:
        end = apart[-1].offset + _BYTES * apart[-1].length if apart else 0
        (apart if each.offset >= end else alone).append(each)
    return apart, alone


def _tensor(name: str, file: str, offset: int, length: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[length])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", _BYTES * length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
