"""`timm:NAME`: nets of timm (PyTorch Image Models, Ross Wightman) with exits."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
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
from anytimenet.nets.wrapped.adapters.weight_files import read_weights

PREFIX = "timm"


def timm_net(
    model: str,
    num_classes: tuple[int, ...],
    exits: int | None = None,
    taps: Sequence[str] | None = None,
    pretrained: bool | str = False,
    input_size: int | Sequence[int] | None = None,
    in_channels: int = 3,
) -> ChainNet:
    """A net of timm, whose own answer is the last stage.

    Args:
        model: its name in timm, with a tag or without.
        num_classes: an entry for each label level; timm's classifier answers the fine one.
        exits: predictions, its own answer included: the exits before are put where they divide its work
            equally. 4 if neither they nor `taps` are given.
        taps: sub-modules of it after which exits are, for example ["layer1", "layer2"] or ["blocks.2"].
        pretrained: True for timm's weights, which timm downloads, or the path of a file of weights
            (safetensors). A classifier for other classes is drawn anew.
        input_size: side, or height and width, of images; by default that which the net was made for.
        in_channels: of images.

    Raises:
        MissingExtraError: if timm is not installed.
        ValueError: for an unknown name, or a net in which no exits can be.
        PretrainedError: if there are no such weights, or they do not fit.
        DeliveryError: if the weights cannot be downloaded.
    """
    check_places(exits, taps)
    backbone = _backbone(model, num_classes[0], pretrained, input_size, in_channels)
    net = with_exits(backbone, f"{PREFIX}:{model}", num_classes, exits, taps)
    if pretrained:
        net.pretraining = replace(_pretraining(model), image_size=backbone.image_size)
    return net


def _backbone(
    model: str,
    classes: int = 10,
    pretrained: bool | str = False,
    input_size: int | Sequence[int] | None = None,
    in_channels: int = 3,
) -> Backbone:
    timm = vision_module("timm")
    config = _config(timm, model)
    channels = checks.whole_number(in_channels, "in_channels", 1, checks.MOST_SIDE)
    size = sides_of(input_size, tuple(config.input_size[1:]))
    needs_values()
    module = _create(timm, model, config, classes, channels, size, pretrained)
    return Backbone(module, (channels, *size), bool(config.fixed_input_size))


def _config(timm: ModuleType, model: str) -> Any:
    """What timm says of the net's weights, images included."""
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=3)
        raise ValueError(
            f"timm {timm.__version__} has no net {model!r}: "
            + (suggest(model, near) if near else "anytimenet list nets 'timm:*' lists them")
        )
    config = timm.get_pretrained_cfg(model, allow_unregistered=True)
    return config if config is not None else timm.models.PretrainedCfg()


def _create(
    timm: ModuleType,
    model: str,
    config: Any,
    classes: int,
    channels: int,
    size: tuple[int, int],
    pretrained: bool | str,
) -> nn.Module:
    more: dict[str, Any] = {"img_size": size} if config.fixed_input_size else {}
    if isinstance(pretrained, str):
        more["pretrained_cfg_overlay"] = _overlay(config, read_weights(pretrained))
    elif checks.flag(pretrained, "pretrained") and not config.has_weights:
        raise PretrainedError(
            f"timm has no weights of {model}: leave pretrained out, or name a file of weights"
        )
    try:
        module: nn.Module = timm.create_model(
            model, pretrained=bool(pretrained), num_classes=classes, in_chans=channels, **more
        )
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if pretrained is True:
            raise DeliveryError(
                f"timm cannot bring the weights of {model} ({reason}): bring them as a file, and give "
                "pretrained='PATH.safetensors'"
            ) from error
        if isinstance(pretrained, str):
            raise PretrainedError(
                f"{Path(pretrained)} holds no weights of timm's {model} ({reason})"
            ) from error
        raise ValueError(f"timm cannot build {model} for images of {size[0]}x{size[1]} ({reason})") from error
    return module


def _overlay(config: Any, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What timm is told of a file of weights: its classes may be others than those of timm's own weights."""
    heads = [config.classifier] if isinstance(config.classifier, str) else list(config.classifier or ())
    classes = [weights[f"{head}.weight"].shape[0] for head in heads if f"{head}.weight" in weights]
    return {"state_dict": dict(weights), **({"num_classes": classes[0]} if classes else {})}


def _input_shape(model: str) -> tuple[int, int, int]:
    config = _config(vision_module("timm"), model)
    return int(config.input_size[0]), int(config.input_size[1]), int(config.input_size[2])


def _pretraining(model: str) -> Pretraining:
    config = _config(vision_module("timm"), model)
    size = (int(config.input_size[1]), int(config.input_size[2]))
    return Pretraining(tuple(config.mean), tuple(config.std), size, f"timm's weights of {model}")


def _names() -> list[str]:
    return [str(name) for name in vision_module("timm").list_models()]


register_prefix(
    Prefix(
        *(PREFIX, "timm", timm_net, _input_shape, _names),
        "a net of timm with exits",
        _pretraining,
        _backbone,
    )
)
