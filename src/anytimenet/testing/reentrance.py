"""The promise that a call in the middle of another call does no harm: the sure way to find hidden state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from anytimenet.testing.calls import REMEMBERS, CallsOnImage, KnownCall
from anytimenet.testing.net_under_test import NetUnderTest
from anytimenet.testing.promise import BreachError, agree, promise


@promise("re-entrance")
@torch.no_grad()
def check_reentrance(subject: NetUnderTest) -> None:
    """A call of the net or of a step gives its result (1e-9) although, at each of its operators, the net is
    called with another stage and another image, or the step with another state.
    """
    for call, others in _calls_with_others(subject):
        try:
            with _CallAtEachOperator(others):
                result = call.run()
        except Exception as error:
            where = f"{call.where}, re-entered, raises {type(error).__name__}: {error}"
            raise BreachError(where, REMEMBERS) from error
        agree(result, call.truth, f"{call.where}, re-entered", REMEMBERS)


def _calls_with_others(subject: NetUnderTest) -> Iterator[tuple[KnownCall, list[KnownCall]]]:
    outer, inner = CallsOnImage(subject, subject.x), CallsOnImage(subject, subject.other_x)
    for stage in subject.every_stage:
        rest = [inner.forward(other) for other in subject.every_stage if other != stage]
        yield outer.forward(stage), rest or [inner.forward(stage)]
        yield outer.step(stage), [inner.step(stage), *rest]


class _CallAtEachOperator(TorchDispatchMode):
    """Makes the next of `others` before each operator; modes are off meanwhile, so it does not recurse."""

    def __init__(self, others: Sequence[KnownCall]) -> None:
        super().__init__()
        self.others = cycle(others)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        next(self.others).run()
        return func(*args, **(kwargs or {}))
