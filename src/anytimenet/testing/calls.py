"""Calls of a net and of its segments with the results that they must give, whatever runs beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from anytimenet.nets.contract import Output
from anytimenet.testing.net_under_test import NetUnderTest, copy_of_state

REMEMBERS = "a layer, the net or a segment remembers the active stage or a tensor; pass it as an argument"
"""The likely cause when a call disturbs another."""


@dataclass(frozen=True)
class KnownCall:
    """A call, its name for messages, and its result when it runs alone."""

    where: str
    run: Callable[[], Output]
    truth: Output


class CallsOnImage:
    """Makes the `KnownCall`s of one net on one batch of images."""

    def __init__(self, subject: NetUnderTest, x: Tensor) -> None:
        self.subject = subject
        self.x = x
        self.states = subject.states_of(x)
        with torch.no_grad():
            self.outputs = subject.net(x)

    def forward(self, stage: int) -> KnownCall:
        """`forward` asked for one stage."""
        net, x = self.subject.net, self.x
        return KnownCall(f"forward(x, ({stage},))", lambda: net(x, (stage,))[0], self.outputs[stage - 1])

    def step(self, stage: int) -> KnownCall:
        """The step to a stage; its result is the new state followed by the output."""
        segment, state = self.subject.segment(stage - 1, stage), self.states[stage - 1]

        def run() -> Output:
            new_state, output = segment(copy_of_state(state))
            return (*new_state, *output)

        truth = (*self.states[stage], *self.outputs[stage - 1])
        return KnownCall(f"segment ({stage - 1}, {stage})", run, truth)
