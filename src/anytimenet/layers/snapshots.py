"""Copies of modules, and plain layers cut out of trained ones: what snapshots and segments are made of."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

_Module = TypeVar("_Module", bound=nn.Module)


def conv_view(weight: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Conv2d:
    """A bias-free Conv2d that reads `weight` (out, in / groups, k, k), a view of it, not a copy."""
    out_channels, fan_in, kernel, _ = weight.shape
    conv = nn.Conv2d(
        fan_in * groups, out_channels, kernel, stride, padding, groups=groups, bias=False, device="meta"
    )
    conv.weight = _shared(weight)
    return conv


def linear_view(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A Linear that reads `weight` (out, in) and `bias`, views of them, not copies."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = _shared(weight), _shared(bias)
    return linear


def norm_view(norm: nn.BatchNorm2d, start: int = 0, stop: int | None = None) -> nn.BatchNorm2d:
    """A BatchNorm2d in eval mode that reads channels [start, stop) of `norm`, views, not copies."""
    span = slice(start, norm.num_features if stop is None else stop)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    twin = nn.BatchNorm2d(span.stop - start, norm.eps, norm.momentum, device="meta").eval()
    twin.weight, twin.bias = _shared(norm.weight[span]), _shared(norm.bias[span])
    twin.running_mean = norm.running_mean[span]
    twin.running_var = norm.running_var[span]
    twin.num_batches_tracked = norm.num_batches_tracked
    return twin


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Equal tensors joined along their first dimension: a view where they lie one after the other in memory.

    >>> halves = torch.arange(6.0).view(3, 2).split(1)
    >>> stacked(halves[1:]).data_ptr() == halves[1].data_ptr()
    True
    """
    first = tensors[0]
    for place, tensor in enumerate(tensors):
        storage, offset = tensor.untyped_storage(), first.storage_offset() + place * first.numel()
        same = storage.data_ptr() == first.untyped_storage().data_ptr() and tensor.storage_offset() == offset
        if not same or not tensor.is_contiguous() or tensor.shape != first.shape:
            return torch.cat(list(tensors))
    return first.as_strided((len(tensors) * first.shape[0], *first.shape[1:]), first.stride())


def copied(module: _Module, twin: Callable[[Tensor], Tensor] | None = None) -> _Module:
    """A deep copy of `module` with `twin(tensor)` for each of its tensors; whether it learns stays as it was.

    What the module holds more than once, it holds more than once in the copy. By default a twin has a
    contiguous memory of its own, as large as the tensor, also where the tensor is a view.

    >>> wide = nn.Linear(8, 2)
    >>> narrow = nn.Linear(4, 2)
    >>> narrow.weight = nn.Parameter(wide.weight[:, :4])
    >>> copied(narrow).weight.untyped_storage().nbytes()
    32
    """
    # deepcopy asks its memo before it copies anything: filled in advance, it meets no tensor, and none of the
    # ten empty dicts for hooks that each module has, which would take most of its time.
    memo: dict[int, object] = {}
    for part in module.modules():
        memo |= {id(value): type(value)() for value in vars(part).values() if _is_empty_dict(value)}
    for tensor in tensors_of(module):
        new = (twin or own_copy)(tensor.detach())
        learns = tensor.requires_grad
        memo[id(tensor)] = nn.Parameter(new, learns) if isinstance(tensor, nn.Parameter) else new
    return copy.deepcopy(module, memo)


def _is_empty_dict(value: object) -> bool:
    return type(value) in (dict, OrderedDict) and not value


def own_copy(tensor: Tensor) -> Tensor:
    """The same values in a contiguous memory of their own."""
    return tensor.clone(memory_format=torch.contiguous_format)


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Each tensor that `module` holds, once: parameters, buffers, and what its attributes contain.

    >>> layer = nn.BatchNorm2d(4)
    >>> layer.notes = {"seen": [torch.zeros(1)]}
    >>> len(tensors_of(layer))
    6
    """
    found: dict[int, Tensor] = {}
    seen: set[int] = set()

    def look(value: Any) -> None:
        if value is None or isinstance(value, bool | int | float | str):  # most of what there is
            return
        if isinstance(value, Tensor):
            found.setdefault(id(value), value)
        elif isinstance(value, Mapping | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            for item in value.values() if isinstance(value, Mapping) else value:
                look(item)

    for part in module.modules():
        look(vars(part))
    return list(found.values())


def is_hooked(layer: nn.Module) -> bool:
    """Whether functions are registered that run with the layer, or one takes the place of its `forward`.

    >>> layer = nn.Linear(2, 2)
    >>> hook = layer.register_forward_hook(lambda layer, given, result: result + 1)
    >>> is_hooked(layer), is_hooked(nn.Linear(2, 2))
    (True, False)
    """
    return bool(layer._forward_hooks or layer._forward_pre_hooks or "forward" in layer.__dict__)


def tensor_names(module: nn.Module) -> list[tuple[str, ...]]:
    """For each parameter and buffer a name in each layer that holds it, the first as in `named_parameters`.

    A layer that is part of two modules is named once: `torch.func.functional_call` with all of these names
    and `tie_weights=False` puts every tensor in its place once, and gives it back.

    >>> layer = nn.Linear(2, 2, bias=False)
    >>> other = nn.Linear(2, 2, bias=False)
    >>> other.weight = layer.weight
    >>> tensor_names(nn.Sequential(layer, layer, other))
    [('0.weight', '2.weight')]
    """
    found: dict[int, list[str]] = {}
    for path, part in module.named_modules():
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is not None:
                found.setdefault(id(tensor), []).append(f"{path}.{name}" if path else name)
    return [tuple(names) for names in found.values()]


def copy_leading(
    source: nn.Module, target: nn.Module, rename: Callable[[str], str] = lambda name: name
) -> None:
    """Fills every tensor of `target` with the leading rectangle of the tensor of `source` of that name.

    `rename` gives the name in `source` for a name in `target`.
    """
    tensors = source.state_dict()
    for name, goal in target.state_dict().items():
        goal.copy_(tensors[rename(name)][tuple(slice(size) for size in goal.shape)])


def like(source: nn.Module, build: Callable[[], nn.Module]) -> Any:
    """What `build` makes, unfilled, on the device and with the dtype of `source`; the meta device too."""
    tensor = next(source.parameters())
    with torch.device("meta"):
        target = build()
    return target.to(tensor.dtype).to_empty(device=tensor.device)


def _shared(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=False)
