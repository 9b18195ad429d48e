"""`huggingface:PATH`: image classifiers of transformers (Hugging Face) with exits, from a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from anytimenet.core import checks
from anytimenet.core.errors import PretrainedError
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.prefixes import MARK, Prefix, register_prefix
from anytimenet.nets.wrapped.adapters.backbone import (
    Backbone,
    check_places,
    needs_values,
    sides_of,
    with_exits,
)
from anytimenet.nets.wrapped.adapters.huggingface_folder import (
    SIDE,
    WEIGHTS,
    checked_config,
    config_of,
    folder_of,
    pretraining_of,
    size_of,
)
from anytimenet.nets.wrapped.adapters.vision_modules import vision_module
from anytimenet.nets.wrapped.adapters.weight_files import fill_backbone, read_weights

PREFIX, EXTRA = "huggingface", "huggingface"
KIND = "@"
"""Before a type of net, `huggingface:@vit`, in place of a folder: so a bundle calls it, config beside it."""


def huggingface_net(
    place: str,
    num_classes: tuple[int, ...],
    exits: int | None = None,
    taps: Sequence[str] | None = None,
    pretrained: bool | str = False,
    input_size: int | Sequence[int] | None = None,
    in_channels: int | None = None,
    config: Mapping[str, Any] | None = None,
) -> ChainNet:
    """An image classifier of transformers, whose own answer is the last stage.

    Nothing is downloaded, and no code and no pickle of the folder is read.

    Args:
        place: folder with config.json, and for trained weights with model.safetensors and
            preprocessor_config.json; or "@" and a type of net, such as "@vit", with its `config`.
        num_classes: an entry for each label level; the net's classifier answers the fine one.
        exits: predictions, its own answer included: the exits before are put where they divide its work
            equally. 4 if neither they nor `taps` are given.
        taps: sub-modules of it after which exits are, for example ["vit.layers.2"].
        pretrained: True for the weights in the folder, or the path of another file of weights
            (safetensors). A classifier for other classes is drawn anew.
        input_size: side, or height and width, of images; by default that which the net was made for.
        in_channels: of images; by default those which the net was made for.
        config: what config.json says, as JSON values, in place of the folder's.

    Raises:
        MissingExtraError: if transformers is not installed.
        ValueError: for no such folder, a net that is no image classifier, or one in which no exits can be.
        PretrainedError: if there are no such weights, or they do not fit.
    """
    check_places(exits, taps)
    config = _config(place, config)
    backbone = _backbone(place, num_classes[0], pretrained, input_size, in_channels, config)
    name = f"{PREFIX}{MARK}{KIND}{config['model_type']}"
    net = with_exits(backbone, name, num_classes, exits, taps, config=config)
    if pretrained:
        net.pretraining = replace(pretraining_of(folder_of(place)), image_size=backbone.image_size)
    return net


def _backbone(
    place: str,
    classes: int = 10,
    pretrained: bool | str = False,
    input_size: int | Sequence[int] | None = None,
    in_channels: int | None = None,
    config: Mapping[str, Any] | None = None,
) -> Backbone:
    transformers = vision_module("transformers", EXTRA)
    config = _config(place, config)
    folder = None if place.startswith(KIND) else folder_of(place)
    size = sides_of(input_size, size_of(config, folder))
    channels = in_channels if in_channels is not None else config.get("num_channels", 3)
    checks.whole_number(channels, "in_channels", 1, checks.MOST_SIDE)
    loads = checks.flag(pretrained, "pretrained") if not isinstance(pretrained, str) else True
    needs_values()
    settled = _settled(transformers, config, classes, channels, size)
    if loads and folder is None:
        raise PretrainedError(f"{place} is no folder of weights: name the folder in which they are")
    if loads:
        pretraining_of(folder_of(place))  # without it the weights are of no use: before they are read
    with _silent(transformers):
        if pretrained is True:
            module = _loaded(transformers, folder_of(place), settled)
        else:
            module = _drawn(transformers, settled)
    if isinstance(pretrained, str):
        fill_backbone(module, read_weights(pretrained), f"a {settled.model_type}")
    return Backbone(module.float().train(), (channels, *size))


def _config(place: str, config: Mapping[str, Any] | None) -> dict[str, Any]:
    if config is not None:
        return checked_config(config, "config")
    if place.startswith(KIND):
        raise ValueError(f"{PREFIX}{MARK}{place} names a type of net: give its config too, or name a folder")
    return config_of(folder_of(place))


def _settled(
    transformers: ModuleType, config: Mapping[str, Any], classes: int, channels: int, size: tuple[int, int]
) -> Any:
    """The config as transformers has it, of that many classes and of such images."""
    kind = config["model_type"]
    known = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    if kind == "timm_wrapper":
        raise ValueError("this is a net of timm in a folder of transformers: timm:NAME builds it")
    if kind not in known:
        raise ValueError(
            f"transformers {transformers.__version__} has no image classifier of the type {kind!r}: there "
            "are some of vit, deit, beit, swin, resnet, convnext and others"
        )
    arguments = {name: value for name, value in config.items() if name != "model_type"}
    try:
        settled = transformers.AutoConfig.for_model(kind, **arguments, num_labels=classes)
    except Exception as error:
        raise ValueError(f"transformers has no {kind} of this config ({_reason(error)})") from error
    if settled.architectures is None:  # looked through where a type has two classifiers, as deit has
        settled.architectures = []
    if hasattr(settled, "image_size"):
        settled.image_size = size[0] if size[0] == size[1] else size
    if hasattr(settled, "num_channels"):
        settled.num_channels = channels
    elif channels != 3:
        raise ValueError(f"in_channels {channels}: a {kind} of transformers reads 3 channels")
    return settled


def _drawn(transformers: ModuleType, config: Any) -> nn.Module:
    try:
        module: nn.Module = transformers.AutoModelForImageClassification.from_config(
            config, trust_remote_code=False
        )
    except Exception as error:
        raise ValueError(f"transformers cannot build this {config.model_type} ({_reason(error)})") from error
    return module


def _loaded(transformers: ModuleType, folder: Path, config: Any) -> nn.Module:
    """With the weights in `folder`; a classifier of other classes is new."""
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise PretrainedError(
            f"{folder} has no {WEIGHTS[0]}: other files of weights are not read; load the net with "
            "transformers and write it with save_pretrained(PATH)"
        )
    try:
        module, told = transformers.AutoModelForImageClassification.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise PretrainedError(
            f"{folder} holds no weights of a {config.model_type} ({_reason(error)})"
        ) from error
    new = {*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}
    new -= {name for name in new if name.endswith("num_batches_tracked")}
    if new and (wrong := sorted(new - _of_classifier(transformers, module, config))):
        shape = tuple(module.state_dict()[wrong[0]].shape)
        raise PretrainedError(
            f"the weights in {folder} do not fit: they have no {wrong[0]} of the shape {shape}; where that "
            "goes with the size of images, leave input_size out"
        )
    loaded: nn.Module = module
    return loaded


def _of_classifier(transformers: ModuleType, module: nn.Module, config: Any) -> set[str]:
    """Names of tensors whose shapes go with the number of classes."""
    other = type(config).from_dict({**config.to_dict(), "id2label": None, "label2id": None})
    other.num_labels = config.num_labels + 1
    twin, own = _drawn(transformers, other).state_dict(), module.state_dict()
    return {name for name, tensor in own.items() if twin[name].shape != tensor.shape}


@contextmanager
def _silent(transformers: ModuleType) -> Iterator[None]:
    """Inside, transformers shows no bars and no reports: what matters in them is an error here."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _input_shape(place: str) -> tuple[int, int, int]:
    if place.startswith(KIND):
        return 3, SIDE, SIDE
    folder = folder_of(place)
    config = config_of(folder)
    channels = checks.whole_number(config.get("num_channels", 3), "num_channels", 1, checks.MOST_SIDE)
    return channels, *size_of(config, folder)


def _pretraining(place: str) -> Pretraining | None:
    """None where the folder does not say it: without its weights it still is a net."""
    if place.startswith(KIND):
        return None
    try:
        return pretraining_of(folder_of(place))
    except PretrainedError:
        return None


register_prefix(
    Prefix(
        *(PREFIX, "transformers", huggingface_net, _input_shape, None),
        "an image classifier of transformers, in a folder, with exits",
        _pretraining,
        _backbone,
    )
)
