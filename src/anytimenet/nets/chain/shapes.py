"""Shapes of the tensors in a chain of modules, found on the meta device: nothing is computed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from anytimenet.core.segments import INPUT
from anytimenet.layers.snapshots import tensor_names


class NamedStep(Protocol):
    """What is read of a node: `chain.Node` has it."""

    @property
    def name(self) -> str: ...
    @property
    def module(self) -> nn.Module: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...


def node_shapes(
    nodes: Iterable[NamedStep],
    input_shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    kept: Collection[str] = (),
) -> dict[str, tuple[int, ...]]:
    """The shape per example of each node's tensor, and of "x", for images of `input_shape` (C, H, W).

    `kept`: names of tensors that something else reads, too, so that no node may overwrite them. Then the
    nodes run in training mode as well: dropout passes its input on in one mode only.

    Raises:
        ValueError: if a node cannot read its input, gives anything but a tensor, or overwrites what is kept.
    """
    nodes = list(nodes)
    shapes: dict[str, tuple[int, ...]] = {}
    for training in (True, False) if kept else (False,):
        # Two examples: BatchNorm in training mode refuses one.
        tensors = {INPUT: torch.empty(2, *input_shape, dtype=dtype, device="meta")}
        for node in nodes:
            versions = {name: t._version for name, t in tensors.items() if name in kept}
            tensors[node.name] = _run(node, tuple(tensors[name] for name in node.inputs), training)
            for name, version in versions.items():
                if tensors[name]._version != version:
                    raise ValueError(
                        f"{node.name} overwrites its input {name!r}, which a head or another segment reads: "
                        "build its first layer with inplace=False"
                    )
        shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
    return shapes


def check_heads(
    heads: Sequence[nn.Module],
    read: Sequence[Sequence[int]],
    num_classes: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Runs head k on features of shape `read[k-1]` (C, H, W), on the meta device.

    Raises:
        ValueError: if a head cannot read them, overwrites them, or gives no logits of `num_classes`.
    """
    for stage, (head, shape) in enumerate(zip(heads, read, strict=True), 1):
        for training in (True, False):
            features = torch.empty(2, *shape, dtype=dtype, device="meta")
            output = _call(head, (features,), f"the head of stage {stage}", training)
            if features._version:
                raise ValueError(
                    f"the head of stage {stage} overwrites the features that it reads, which later blocks "
                    "read, too: build its first layer with inplace=False"
                )
        levels = (output,) if isinstance(output, Tensor) else tuple(output)
        found = tuple(logits.shape[1] if logits.ndim > 1 else None for logits in levels)
        if found != tuple(num_classes):
            raise ValueError(
                f"the head of stage {stage} gives logits of {found} classes where {tuple(num_classes)} is "
                "needed: say num_classes, or build the head with it"
            )


class ShapesOnly(TorchFunctionMode):
    """Takes a BatchNorm on the meta device for the shape that it gives: PyTorch needs 7 ms to say the same.

    Shapes that do not fit are left to PyTorch, which says so.

    >>> with ShapesOnly(), torch.device("meta"):
    ...     nn.BatchNorm2d(4)(torch.empty(2, 4, 8, 8)).shape
    torch.Size([2, 4, 8, 8])
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.batch_norm and _is_plain_norm(*args, **(kwargs or {})):
            return torch.empty_like(args[0])
        return func(*args, **(kwargs or {}))


def _is_plain_norm(x: Tensor, *others: Any, training: bool = True, **options: Any) -> bool:
    """Whether an image without values meets as many statistics as it has channels, and has enough of them."""
    per_channel = [tensor for tensor in (*others, *options.values()) if isinstance(tensor, Tensor)]
    enough = x.is_meta and (not training or x.numel() > x.shape[1])
    return enough and all(tensor.shape == x.shape[1:2] for tensor in per_channel)


def check_features(shape: Sequence[int], name: str) -> None:
    """Raises ValueError for anything that is no map of features `(C, H, W)` and no tokens `(T, D)`."""
    if len(shape) not in (2, 3):
        raise ValueError(
            f"{name} gives a tensor of shape (N, {', '.join(map(str, shape))}): an exit reads feature maps "
            "(N, C, H, W) or tokens (N, T, D); put the exit before the layer that flattens them"
        )


def _run(node: NamedStep, inputs: tuple[Tensor, ...], training: bool) -> Tensor:
    result = _call(node.module, inputs, node.name, training)
    if not isinstance(result, Tensor):
        raise ValueError(f"{node.name} must give one tensor, not {type(result).__name__}")
    return result


@torch.no_grad()
def _call(module: nn.Module, inputs: tuple[Tensor, ...], name: str, training: bool) -> Any:
    """What the module returns in that mode, as shapes: its weights are not read, its buffers not changed."""
    empty = _without_values(module)
    modes = {part: part.training for part in module.modules()}
    module.train(training)
    try:
        with ShapesOnly():
            return torch.func.functional_call(module, empty, inputs, tie_weights=False)
    except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
        read = " and ".join(str(tuple(tensor.shape[1:])) for tensor in inputs)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{name} cannot read images or features of shape {read}: {reason}") from error
    finally:
        for part, mode in modes.items():
            part.training = mode


def _without_values(module: nn.Module) -> dict[str, Tensor]:
    """By name the shapes of its weights."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    found: dict[str, Tensor] = {}
    for first, *others in tensor_names(module):
        # A counter has a value that some layers look at.
        floats = tensors[first].is_floating_point()
        empty = torch.empty_like(tensors[first], device="meta") if floats else tensors[first].clone()
        found |= dict.fromkeys((first, *others), empty)
    return found
