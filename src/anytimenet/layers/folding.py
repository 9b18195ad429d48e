"""BatchNorms folded into the convolutions before them: a layer less to run, the same up to rounding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeGuard

import torch
from torch import Tensor, nn

from anytimenet.layers.frozen import Frozen
from anytimenet.layers.norms import PrefixBatchNorm2d

_NORMS = (nn.BatchNorm2d.forward, PrefixBatchNorm2d.forward)
_SEQUENCES = (nn.Sequential.forward, Frozen.forward)


def fold_norms(module: nn.Module) -> None:
    """Folds, in place, each BatchNorm that alone reads the output of a convolution; an `Identity` is left.

    Which these are, neighbours in an `nn.Sequential` tell, which is taken to run as a whole, and elsewhere
    the attribute `folds` of a module: it names pairs, `(("conv1", "norm2"),)`, with dots for what lies
    deeper. The convolution may be a `ModuleList` of convolutions whose outputs are joined. What is used in
    two places, or watched by hooks, stays as it is. The module must be in eval mode; the convolutions get new
    weights.

    >>> layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8)).eval()
    >>> fold_norms(layers)
    >>> [type(layer).__name__ for layer in layers]
    ['Conv2d', 'Identity', 'ReLU', 'BatchNorm2d']
    """
    uses = Counter(part for _, part in module.named_modules(remove_duplicate=False))
    for part in list(module.modules()):
        for before, after in _pairs(part):
            norm, convs = _at(part, after), _convolutions(_at(part, before))
            alone = all(uses[layer] == 1 and not _is_watched(layer) for layer in (*convs, norm) if layer)
            if alone and _is_plain(norm) and sum(c.out_channels for c in convs) == norm.num_features:
                _fold(convs, norm)
                holder, _, name = after.rpartition(".")
                setattr(part.get_submodule(holder), name, nn.Identity())


def _pairs(part: nn.Module) -> Iterator[tuple[str, str]]:
    yield from getattr(part, "folds", ())
    if type(part).forward in _SEQUENCES:
        yield from pairwise(part._modules)  # named_children leaves out what comes twice


def _at(part: nn.Module, name: str) -> nn.Module | None:
    found: nn.Module | None = part
    for step in name.split("."):
        found = getattr(found, step, None)
    return found


def _is_watched(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _is_plain(norm: nn.Module | None) -> TypeGuard[nn.BatchNorm2d]:
    if not isinstance(norm, nn.BatchNorm2d):
        return False
    return norm.running_mean is not None and type(norm).forward in _NORMS


def _convolutions(found: nn.Module | None) -> list[nn.Conv2d]:
    """The convolution, or those of a list; none if anything else is there."""
    layers = list(found) if isinstance(found, nn.ModuleList) else [found]
    plain = [c for c in layers if isinstance(c, nn.Conv2d) and type(c).forward is nn.Conv2d.forward]
    if any(nn.utils.parametrize.is_parametrized(conv) for conv in plain):  # whose weight is computed
        return []
    return plain if len(plain) == len(layers) else []


@torch.no_grad()
def _fold(convs: list[nn.Conv2d], norm: nn.BatchNorm2d) -> None:
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    exact = torch.promote_types(mean.dtype, torch.float32)
    scale = (var.to(exact) + norm.eps).rsqrt()
    shift = -mean.to(exact) * scale
    if norm.affine:
        scale, shift = scale * norm.weight.to(exact), shift * norm.weight.to(exact) + norm.bias.to(exact)
    start = 0
    for conv in convs:
        here = slice(start, start := start + conv.out_channels)
        factor, weight = scale[here], conv.weight
        bias = shift[here] if conv.bias is None else shift[here] + conv.bias.to(exact) * factor
        folded: Tensor = weight.to(exact) * factor.view(-1, 1, 1, 1)
        conv.weight = nn.Parameter(folded.to(weight.dtype), requires_grad=False)
        conv.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)
