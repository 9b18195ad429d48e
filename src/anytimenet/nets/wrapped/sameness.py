"""Whether nodes that were cut out of a module compute what the module computes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

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


def check_one(module: nn.Module, nodes: Sequence[Node], classifier: nn.Module, example: Tensor) -> None:
    """Raises ValueError unless the nodes give the module's own answer for one image alone, too."""
    with in_eval_mode(module, *(node.module for node in nodes), classifier), torch.no_grad():
        own = logits_of(module(example))
        found = _run(nodes, classifier, example)
    if not _close(found, own, 1e-5):
        raise ValueError(
            "for one image alone the module's forward does something else than for several: what it computes "
            "must not depend on the size of the batch"
        )


def check_in_training(module: nn.Module, whole: nn.Module, example: Tensor) -> None:
    """The same in training mode, from one seed: dropout must act alike. Buffers are left as they were.

    Raises:
        ValueError: if the module gives something else than its steps in their order, or they leave a buffer
            as it is that the module's own forward changes.
    """
    seen = _Draws()
    (own, moved), (ours, ours_moved) = (_trained(run, module, example, seen) for run in (module, whole))
    same = _close(own, ours, 1e-3)
    # Predictions that exist in training alone draw as well, so that the same seed gives others: no luck at
    # all then, where what is dropped would still show in what is left. And what is left out where a number
    # is small, a layer say, may have been in by luck: the smallest shows it.
    for number in (() if same else (0.5,)) + ((1e-6,) if seen.numbers else ()):
        (own, _), (ours, _) = (_trained(run, module, example, _Draws(number)) for run in (module, whole))
        same = _close(own, ours, 1e-3)
        if not same:
            break
    if not same:
        raise ValueError(
            "in training mode the module gives something else than in evaluation what its sub-modules and "
            "operators do (drop path or noise as a function, say): make that a sub-module, or wrap it with "
            "frozen=True"
        )
    stale = sorted(moved & {name for name, _ in whole.named_buffers()} - ours_moved)
    if stale:
        raise ValueError(
            f"in training mode the module's forward changes {stale[0]}, which its answer needs, by other "
            "ways than its sub-modules: make what does it a sub-module, or wrap it with frozen=True"
        )


@torch.no_grad()
def _trained(
    run: nn.Module, module: nn.Module, example: Tensor, draws: AbstractContextManager[Any]
) -> tuple[Tensor, set[str]]:
    """The answer in training mode, from seed 0, and the names of the buffers that changed."""
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    modes = {part: part.training for part in run.modules()}
    run.train()
    try:
        with torch.random.fork_rng([example.device] if example.is_cuda else []), draws:
            torch.default_generator.manual_seed(0)
            if example.is_cuda:
                torch.cuda.manual_seed(0)
            answer = logits_of(run(example))
        after = dict(run.named_buffers())
        return answer, {name for name, old in before.items() if not torch.equal(after.get(name, old), old)}
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"the module cannot read images of shape {tuple(example.shape)} in training mode ({reason}): "
            "wrap it with a larger input_shape, or frozen=True"
        ) from error
    finally:
        for name, buffer in module.named_buffers():
            buffer.copy_(before[name])
        for part, mode in modes.items():
            part.training = mode


class _Draws(TorchDispatchMode):
    """Draws 1 where a coin is tossed, and `number` where a number is; without `number` it looks on.

    Attributes:
        numbers: whether one was drawn.
    """

    def __init__(self, number: float | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = number
        self.numbers = False

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name = str(func.overloadpacket)
        if name == "aten.native_dropout" and self.number is not None:
            return args[0] / (1 - args[1]), torch.ones_like(args[0], dtype=torch.bool)
        result = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags and isinstance(result, Tensor):
            is_coin = "bernoulli" in name
            self.numbers |= not is_coin and name != "aten.native_dropout"
            if self.number is not None:
                result.fill_(1 if is_coin else self.number)
        return result


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
