"""`torchvision:NAME`: classifiers of torchvision with exits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from anytimenet.core import checks
from anytimenet.core.errors import DeliveryError, PretrainedError, suggest
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.prefixes import Prefix, register_prefix
from anytimenet.nets.wrapped.adapters.backbone import (
    Backbone,
    check_places,
    needs_values,
    sides_of,
    with_exits,
)
from anytimenet.nets.wrapped.adapters.vision_modules import vision_module
from anytimenet.nets.wrapped.adapters.weight_files import fill_backbone, read_weights

PREFIX = "torchvision"
SIDE = 224
_OLD_CODE = {"aux_logits": False, "init_weights": False, "transform_input": True}
"""Their further answers are for training alone; weights that torchvision has of them want the other range."""
_ARGUMENTS: dict[str, dict[str, Any]] = {"googlenet": _OLD_CODE, "inception_v3": _OLD_CODE}


def torchvision_net(
    model: str,
    num_classes: tuple[int, ...],
    exits: int | None = None,
    taps: Sequence[str] | None = None,
    pretrained: bool | str = False,
    input_size: int | Sequence[int] | None = None,
    in_channels: int = 3,
) -> ChainNet:
    """A classifier of torchvision, whose own answer is the last stage.

    Args:
        model: its name in torchvision.models.
        num_classes: an entry for each label level; the net's classifier answers the fine one.
        exits: predictions, its own answer included: the exits before are put where they divide its work
            equally. 4 if neither they nor `taps` are given.
        taps: sub-modules of it after which exits are, for example ["layer1", "layer2"].
        pretrained: True for the best weights that torchvision knows, which it downloads, or the path of a
            file of weights (safetensors). A classifier for other classes is drawn anew.
        input_size: side, or height and width, of images; 224 by default.
        in_channels: of images: 3, torchvision has no others.

    Raises:
        MissingExtraError: if torchvision is not installed.
        ValueError: for an unknown name, or a net in which no exits can be.
        PretrainedError: if there are no such weights, or they do not fit.
        DeliveryError: if the weights cannot be downloaded.
    """
    check_places(exits, taps)
    backbone = _backbone(model, num_classes[0], pretrained, input_size, in_channels)
    net = with_exits(backbone, f"{PREFIX}:{model}", num_classes, exits, taps)
    if pretrained and list(_models(model).get_model_weights(model)):
        net.pretraining = replace(_pretraining(model), image_size=backbone.image_size)
    return net


def _backbone(
    model: str,
    classes: int = 10,
    pretrained: bool | str = False,
    input_size: int | Sequence[int] | None = None,
    in_channels: int = 3,
) -> Backbone:
    models = _models(model)
    if checks.whole_number(in_channels, "in_channels", 1) != 3:
        raise ValueError(
            f"in_channels {in_channels}: nets of torchvision read 3 channels; timm's read others"
        )
    size = sides_of(input_size, (SIDE, SIDE))
    needs_values()
    module = _build(models, model, classes, size)
    if isinstance(pretrained, str):
        fill_backbone(module, read_weights(pretrained), f"torchvision's {model}")
    elif checks.flag(pretrained, "pretrained"):
        fill_backbone(module, _downloaded(models, model), f"torchvision's {model}")
    return Backbone(module, (3, *size), fixed=hasattr(module, "image_size"))


def _models(model: str) -> ModuleType:
    """torchvision.models, which has that name."""
    models = vision_module("torchvision.models")
    known = _names()
    if model not in known:
        raise ValueError(f"torchvision has no classifier {model!r}: {suggest(model, known)}")
    return models


def _build(models: ModuleType, model: str, classes: int, size: tuple[int, int]) -> nn.Module:
    more = dict(_ARGUMENTS.get(model, {}))
    if model.startswith("vit_"):
        if len(set(size)) > 1:
            raise ValueError(f"{model} reads square images, and input_size is {size[0]}x{size[1]}")
        more["image_size"] = size[0]
    elif model.startswith("maxvit"):
        more["input_size"] = size
    try:
        module: nn.Module = models.get_model(model, weights=None, num_classes=classes, **more)
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ValueError(
            f"torchvision cannot build {model} for images of {size[0]}x{size[1]} ({reason})"
        ) from error
    return module


def _downloaded(models: ModuleType, model: str) -> dict[str, Tensor]:
    weights = _weights(models, model)
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, map_location="cpu")
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise DeliveryError(
            f"torchvision cannot bring the weights of {model} ({reason}): bring them as a file, and give "
            "pretrained='PATH.safetensors'"
        ) from error
    return state


def _weights(models: ModuleType, model: str) -> Any:
    known = list(models.get_model_weights(model))
    if not known:
        raise PretrainedError(f"torchvision has no weights of {model}: leave pretrained out")
    return models.get_model_weights(model).DEFAULT


def _pretraining(model: str) -> Pretraining:
    """As the transformation that torchvision gives with its weights."""
    preset = _weights(_models(model), model).transforms()
    size = preset.crop_size
    side = int(size[0] if isinstance(size, Sequence) else size)
    return Pretraining(tuple(preset.mean), tuple(preset.std), side, f"torchvision's weights of {model}")


def _input_shape(model: str) -> tuple[int, int, int]:
    _models(model)
    return 3, SIDE, SIDE


def _names() -> list[str]:
    models = vision_module("torchvision.models")
    return [str(name) for name in models.list_models(module=models)]


register_prefix(
    Prefix(
        *(PREFIX, "torchvision", torchvision_net, _input_shape, _names),
        "a classifier of torchvision with exits",
        _pretraining,
        _backbone,
    )
)
