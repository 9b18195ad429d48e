"""Promises about what a segment changes in a state, and about the examples of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from anytimenet.core.segments import INPUT
from anytimenet.nets.contract import Segment, rows
from anytimenet.nets.segment import concatenate
from anytimenet.testing.compare import largest_distance
from anytimenet.testing.net_under_test import BATCH, NetUnderTest, copy_of_state
from anytimenet.testing.promise import BreachError, agree, promise

SOME = (2, 0)
"""The examples that go on when others leave the batch."""


@promise("advance")
@torch.no_grad()
def check_advance(subject: NetUnderTest) -> None:
    """For every a < b, `advance` on the stepwise state at a gives forward's output b and those tensors of the
    state at b that are not carried (1e-9): never the input, nor one that stays as it is, and none outside
    `changes`. One that continues another begins with it (bit for bit) and is what `join` gave.
    `reads` and `writes` are the names of both states.
    """
    for start, stop in subject.every_segment():
        segment, where = subject.segment(start, stop), f"segment ({start}, {stop})"
        assert isinstance(segment, Segment)
        writes = subject.state_names(stop) if stop < subject.num_stages else []
        if (list(segment.reads), list(segment.writes)) != (subject.state_names(start), writes):
            raise BreachError(
                f"{where} reads {segment.reads} and writes {segment.writes}",
                "the base class sets both to the names of state_spec",
            )
        old = dict(zip(segment.reads, copy_of_state(subject.states[start]), strict=True))
        joins = _Joins()
        changes, output = segment.advance(tuple(old.values()), joins)
        agree(output, subject.truth[stop - 1], f"the output of advance of {where}", "it does other work")
        new = dict(zip(writes, subject.states[stop], strict=True))
        _check_changed(where, changes, segment, old, new)
        for name, growth in segment.changes.items():
            if growth is not None:
                _check_growth(f"{where}: {name!r}", changes.get(name), growth, old, joins)


@promise("rows")
@torch.no_grad()
def check_rows(subject: NetUnderTest) -> None:
    """Examples are independent: for every a < b, going on with some rows of the state at a gives those rows
    of the new state and of the output (1e-9). Every tensor of a state has the batch first.
    """
    cause = "an operation mixes the examples of a batch, or a state holds a sum or a mean of them"
    index = list(SOME)
    for start, stop in subject.every_segment():
        where = f"segment ({start}, {stop})"
        for name, tensor in zip(subject.state_names(start), subject.states[start], strict=True):
            if tensor.shape[:1] != (BATCH,):
                raise BreachError(f"state {start}: {name!r} has shape {tuple(tensor.shape)}", cause)
        segment = subject.segment(start, stop)
        state, output = segment(rows(copy_of_state(subject.states[start]), index))
        agree(output, rows(subject.truth[stop - 1], index), f"the output of {where} on some rows", cause)
        agree(state, rows(subject.states[stop], index), f"the state after {where} on some rows", cause)


class _Joins:
    """The eager join, which remembers what it gave."""

    def __init__(self) -> None:
        self.given: list[tuple[Tensor | None, Tensor, int]] = []

    def __call__(self, name: str, old: Tensor | None, new: Tensor, axis: int) -> Tensor:
        whole = concatenate(name, old, new, axis)
        self.given.append((old, whole, axis))
        return whole

    def lead(self, before: Tensor, whole: Tensor, axis: int) -> bool:
        """Whether `whole` came about by joining `before` and what is new, in one step or in several."""
        for old, gave, along in reversed(self.given):
            if gave is whole and along == axis and old is not None:
                whole = old
        return whole is before


def _check_changed(
    where: str,
    changes: dict[str, Tensor],
    segment: Segment,
    old: dict[str, Tensor],
    new: dict[str, Tensor],
) -> None:
    for name, tensor in changes.items():
        if name not in segment.changes or name == INPUT:
            raise BreachError(
                f"{where} returns {name!r} from advance", f"its changes are {list(segment.changes)}"
            )
        if name in old and largest_distance((tensor,), (old[name],)) == 0:
            raise BreachError(
                f"{where} returns {name!r} from advance, which is carried", "leave out what stays as it is"
            )
        agree((tensor,), (new[name],), f"{name!r} from advance of {where}", "it is not that of the state")
    for name, tensor in new.items():
        if name not in changes and (name not in old or largest_distance((old[name],), (tensor,)) != 0):
            raise BreachError(f"{where} leaves {name!r} out of advance", "the tensor is new, or has changed")


def _check_growth(
    where: str, whole: Tensor | None, growth: tuple[str, int], old: dict[str, Tensor], joins: _Joins
) -> None:
    name, axis = growth
    if name not in old:
        raise BreachError(f"{where} continues {name!r}, which it does not read", "changes names another one")
    before = old[name]
    size = before.shape[axis + 1]
    begins = whole is not None and whole.shape[axis + 1] >= size
    if whole is None or not begins or not torch.equal(whole.narrow(axis + 1, 0, size), before):
        raise BreachError(
            f"{where} does not begin with {name!r} along axis {axis}",
            "changes promises that the earlier values come first along that axis, unchanged",
        )
    if not joins.lead(before, whole, axis):
        raise BreachError(
            f"{where} is not what join(name, {name!r}, ..) gave", "advance joins by itself: call join"
        )
