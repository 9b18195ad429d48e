"""Promises about what `forward` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from anytimenet.nets.contract import Output
from anytimenet.testing.compare import distance
from anytimenet.testing.net_under_test import BATCH, NetUnderTest
from anytimenet.testing.promise import BreachError, agree, promise


@promise("forward")
@torch.no_grad()
def check_forward(subject: NetUnderTest) -> None:
    """`forward(x, stages)` gives one finite output a stage asked for, in the order asked for, the same each
    time (1e-9) and without changing `x`; an output is a tuple, one tensor `(N, classes, ..)` a label level.
    """
    net, image = subject.net, subject.x.clone()
    for stage, output in zip(subject.every_stage, _outputs(subject, subject.every_stage), strict=True):
        _check_shape(net.num_classes, stage, output)
        agree(
            output, subject.truth[stage - 1], f"output {stage} of a second call", "dropout or noise in eval"
        )
    orders = [(k,) for k in subject.every_stage] + [subject.every_stage[::-1]]
    for stages in orders:
        for stage, output in zip(stages, _outputs(subject, stages), strict=True):
            where = f"output {stage} of forward(x, {stages})"
            cause = "outputs are not aligned with `stages`, or depend on which others were asked for"
            agree(output, subject.truth[stage - 1], where, cause)
    if not torch.equal(image, subject.x):
        raise BreachError("forward changed its input", "an in-place operation on x")


@promise("bad stages")
@torch.no_grad()
def check_bad_stages(subject: NetUnderTest) -> None:
    """Stages and segments that do not exist raise `ValueError`, in `forward`, `passes`, `segment`, `keep`."""
    net, x, stop = subject.net, subject.x, subject.num_stages
    cause = "the method does not begin with `self.check_stages(stages)`, or replaces one that does"
    for stages in ((0,), (stop + 1,), (1, 1), ()):
        _must_refuse(lambda s: net(x, s), stages, f"forward(x, {stages})", cause)
        _must_refuse(lambda s: list(net.passes(x, s)), stages, f"passes(x, {stages})", cause)
        _must_refuse(net.keep, stages, f"keep({stages})", cause)
    for pair in ((0, 0), (stop, stop), (0, stop + 1), (-1, 1)):
        _must_refuse(lambda p: net.segment(*p), pair, f"segment{pair}", cause)


@promise("batch")
@torch.no_grad()
def check_batch(subject: NetUnderTest) -> None:
    """In eval mode a batch of three equals three batches of one (1e-9), in `forward` and in every step."""
    cause = "an operation mixes the images of a batch, such as BatchNorm with batch statistics"
    for i in range(BATCH):
        alone = subject.net(subject.x[i : i + 1])
        for stage, output in zip(subject.every_stage, alone, strict=True):
            expected = tuple(level[i : i + 1] for level in subject.truth[stage - 1])
            agree(output, expected, f"output {stage} of image {i} alone", cause)
            state = tuple(tensor[i : i + 1] for tensor in subject.states[stage - 1])
            result = subject.segment(stage - 1, stage, last=True)(state)
            agree(result, expected, f"segment ({stage - 1}, {stage}) on image {i} alone", cause)


def _outputs(subject: NetUnderTest, stages: tuple[int, ...]) -> list[Output]:
    outputs = subject.net(subject.x, stages)
    if not isinstance(outputs, list) or len(outputs) != len(stages):
        found = f"{len(outputs)} outputs" if isinstance(outputs, list) else f"a {type(outputs).__name__}"
        raise BreachError(
            f"forward(x, {stages}) gives {found}, not a list of {len(stages)}",
            "forward ignores `stages`, or returns another type",
        )
    return outputs


def _check_shape(num_classes: tuple[int, ...], stage: int, output: Any) -> None:
    cause = "an output is a tuple with one tensor (N, classes, ..) for each entry of num_classes"
    if not isinstance(output, tuple) or len(output) != len(num_classes):
        raise BreachError(f"output {stage} is not a tuple of {len(num_classes)} tensors", cause)
    for level, (logits, classes) in enumerate(zip(output, num_classes, strict=True)):
        if logits.dim() < 2 or tuple(logits.shape[:2]) != (BATCH, classes):
            where = (
                f"output {stage}, level {level} has shape {tuple(logits.shape)}, not ({BATCH}, {classes}, ..)"
            )
            raise BreachError(where, cause)
        if distance(logits, logits) != 0:
            raise BreachError(
                f"output {stage}, level {level} is not finite", "values overflow or are divided by 0"
            )


def _must_refuse(call: Callable[[Any], Any], argument: Any, where: str, cause: str) -> None:
    try:
        call(argument)
    except ValueError:
        return
    except Exception as error:
        raise BreachError(f"{where} raises {type(error).__name__}, not ValueError", cause) from error
    raise BreachError(f"{where} is accepted", cause)
