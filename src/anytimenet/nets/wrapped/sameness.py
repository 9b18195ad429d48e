"""Whether nodes that were cut out of a module compute what the module computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from anytimenet.core.segments import INPUT, InputSpec
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.wrapped.capture import in_eval_mode, logits_of

_MORE = (32, 64)
"""Pixels by which height and width of a second example are larger; unequal, so that a turn would show."""


def check_answer(nodes: Sequence[Node], classifier: nn.Module, example: Tensor, answer: Tensor) -> None:
    """Raises ValueError unless the nodes give the module's own answer in eval mode."""
    with in_eval_mode(*(node.module for node in nodes), classifier):
        found = _run(nodes, classifier, example)
    if found.shape != answer.shape or not _close(found, answer, 1e-5):
        raise ValueError(
            "the sub-modules and operators that were found give another answer than the module: its forward "
            "does something that they do not show, such as a sub-module that overwrites what another reads "
            "(build it with inplace=False), or state that it keeps from call to call"
        )


def check_in_training(module: nn.Module, whole: nn.Module, example: Tensor) -> None:
    """The same in training mode, from one seed: dropout must act alike. Buffers are left as they were.

    Raises:
        ValueError: if the module gives something else than its steps in their order.
    """
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    modes = {part: part.training for part in (*module.modules(), *whole.modules())}
    answers = []
    try:
        for run in (module, whole):
            run.train()
            with torch.no_grad(), torch.random.fork_rng([example.device] if example.is_cuda else []):
                torch.default_generator.manual_seed(0)
                if example.is_cuda:
                    torch.cuda.manual_seed(0)
                answers.append(logits_of(run(example)))
            with torch.no_grad():
                for name, buffer in module.named_buffers():
                    buffer.copy_(before[name])
    finally:
        for part, mode in modes.items():
            part.training = mode
    own, ours = answers
    if own.shape != ours.shape or not _close(own, ours, 1e-3):
        raise ValueError(
            "in training mode the module gives something else than in evaluation what its sub-modules and "
            "operators do (drop path or noise as a function, say): make that a sub-module, or wrap it with "
            "frozen=True"
        )


def fixed_size(
    module: nn.Module, nodes: Sequence[Node], classifier: nn.Module, spec: InputSpec, example: Tensor
) -> InputSpec:
    """`spec`, fixed to the example's size where the module or the nodes hold for no other: one is tried."""
    height, width = example.shape[2:]
    other = torch.zeros(2, example.shape[1], height + _MORE[0], width + _MORE[1]).to(example)
    other[:, :, :height, :width] = example
    with in_eval_mode(module, *(node.module for node in nodes), classifier):
        try:
            with torch.no_grad():
                own = logits_of(module(other))
                if _close(_run(nodes, classifier, other), own, 1e-4):
                    return spec
        except (RuntimeError, ValueError, AssertionError, IndexError, TypeError):
            pass
    return replace(spec, fixed=(height, width))


@torch.no_grad()
def _run(nodes: Sequence[Node], classifier: nn.Module, x: Tensor) -> Tensor:
    tensors = {INPUT: x}
    for node in nodes:
        tensors[node.name] = node.module(*(tensors[name] for name in node.inputs))
    result: Tensor = classifier(tensors[nodes[-1].name])
    return result


def _close(one: Tensor, other: Tensor, relative: float) -> bool:
    """Equal up to so much of the largest value; number formats of few digits round more."""
    if one.shape != other.shape:
        return False
    relative = max(relative, 8 * torch.finfo(one.dtype).eps)
    return bool((one - other).abs().max() <= relative * (1 + other.abs().max()))
