"""Weights of other packages' nets: read from a file that the user names, and put into the net."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from anytimenet.core import checks
from anytimenet.core.errors import PretrainedError


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, by name. Files of pickles run code when they are read: none is.

    Raises:
        PretrainedError: if there is no such file, or it is no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = checks.path(path, "pretrained")
    if not file.is_file():
        raise PretrainedError(
            f"pretrained {str(file)!r} is no file: True takes the weights that the package has"
        )
    try:
        return load_file(file)
    except SafetensorError as error:
        raise PretrainedError(
            f"{file} is no safetensors file ({error}): convert it with safetensors.torch.save_file("
            "torch.load(PATH, weights_only=True), 'weights.safetensors')"
        ) from error


@torch.no_grad()
def fill_backbone(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Copies weights by name; those of a last layer for other classes and of further answers are left out.

    Args:
        module: a net whose last linear layer or convolution is its classifier.
        what: the net, in messages.

    Raises:
        PretrainedError: if a tensor of another layer is missing, or has another shape.
    """
    own = module.state_dict()
    layers = [name for name, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    last = layers[-1] if layers else ""
    drawn = {f"{last}.{tensor}" for tensor in ("weight", "bias")}
    fits = {name for name, tensor in own.items() if name in weights and weights[name].shape == tensor.shape}
    missing = sorted(set(own) - fits - drawn - {name for name in own if name.endswith("num_batches_tracked")})
    if missing:
        name = missing[0]
        there = f"is {tuple(weights[name].shape)} there" if name in weights else "is not among them"
        raise PretrainedError(
            f"these are no weights of {what}: {name} is {tuple(own[name].shape)}, and {there}"
        )
    for name in fits:
        own[name].copy_(weights[name])
