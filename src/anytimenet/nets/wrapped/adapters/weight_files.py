"""Weights of other packages' nets from a file that the user names."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from anytimenet.core import checks
from anytimenet.core.errors import DataError


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, by name. Files of pickles run code when they are read: none is.

    Raises:
        DataError: if there is no such file, or it is no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = checks.path(path, "pretrained")
    if not file.is_file():
        raise DataError(f"pretrained {str(file)!r} is no file: True takes the weights that the package has")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise DataError(
            f"{file} is no safetensors file ({error}): convert it with safetensors.torch.save_file("
            "torch.load(PATH, weights_only=True), 'weights.safetensors')"
        ) from error
