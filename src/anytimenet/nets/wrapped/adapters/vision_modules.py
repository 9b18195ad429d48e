"""Importing timm, torchvision and transformers, also where torchvision was built for another torch."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from functools import cache
from types import ModuleType

import torch

from anytimenet.core.errors import require

_UNDECLARED = "operator torchvision::nms does not exist"
_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def vision_module(name: str, extra: str = "vision") -> ModuleType:
    """Imports torchvision, or timm or transformers, which import it where it is, or modules of theirs.

    The build of torchvision on the package index is for CUDA. Beside a torch for CPUs its operators for
    finding objects do not load, and its import fails because two of them are not declared. Classifiers do
    not call them: on exactly that error they are declared, without code, and the import is tried again.

    Raises:
        MissingExtraError: if it is not installed, or cannot be imported for another reason.

    Warns:
        UserWarning: that the operators were declared.
    """
    if importlib.util.find_spec("torchvision") is not None:  # the others would stop half way
        _import_torchvision()
    return require(name, extra)


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _UNDECLARED not in str(error):
            return  # `require` meets the same error, and says what to do
        for module in [module for module in sys.modules if module.partition(".")[0] == "torchvision"]:
            del sys.modules[module]
        _declare_operators()
        warnings.warn(
            "this torchvision was built for another torch, and its operators nms and qnms are missing: they "
            "were declared without code, so that torchvision can be imported. Classifiers do not use them; "
            "for finding objects install the torchvision that fits this torch",
            UserWarning,
            stacklevel=4,
        )
    except ImportError:
        pass  # as above


@cache
def _declare_operators() -> torch.library.Library:
    """Declares them once; they go when what is returned does, so that it is kept."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        library.define(operator + _SCHEMA)
    return library
