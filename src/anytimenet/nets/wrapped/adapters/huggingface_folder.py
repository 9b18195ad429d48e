"""What the files beside the weights of a net of transformers say: its layers, and how its images look."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anytimenet.core import checks
from anytimenet.core.errors import PretrainedError
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.nets.building import check_arguments

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
SIDE = 224
_BYTE = 255
_LARGEST_FILE = 16 * 2**20
# Names of classes, which a bundle has of its own; what trains or answers otherwise; code of the folder's.
_NO_LAYERS = {
    *("id2label", "label2id", "num_labels", "problem_type", "transformers_version", "dtype", "torch_dtype"),
    *("return_dict", "output_hidden_states", "output_attentions", "torchscript", "attn_implementation"),
    "auto_map",
}
_OF_OTHERS = ("backbone", "use_pretrained_backbone", "use_timm_backbone", "quantization_config")
"""With these transformers would fetch another net, or load weights that do not learn."""


def folder_of(place: str) -> Path:
    """The folder, if it holds a net of transformers. Raises ValueError if not."""
    folder = checks.path(place, "folder of the net").expanduser()
    if not (folder / CONFIG).is_file():
        raise ValueError(
            f"{folder} is no folder with a {CONFIG}: nothing is downloaded here; save_pretrained(PATH) of "
            "transformers writes one"
        )
    return folder


def config_of(folder: Path) -> dict[str, Any]:
    """What its config says of layers, as JSON values for a bundle: no paths, no names of classes."""
    return checked_config(_read(folder / CONFIG), str(folder / CONFIG))


def checked_config(config: object, where: str) -> dict[str, Any]:
    """`config` without what says nothing of layers.

    Raises:
        ValueError: if it names no type of net, needs another net, or holds numbers that no net is built from.
    """
    kept = _layers(checks.json_values(config, where), where)
    if not isinstance(kept.get("model_type"), str):
        raise ValueError(f"{where} names no model_type: it is no config of transformers")
    check_arguments(where, {"config": kept})
    return kept


def size_of(config: Mapping[str, Any], folder: Path | None = None) -> tuple[int, int]:
    """Height and width of the images that the net was made for."""
    file = None if folder is None else folder / PREPROCESSOR
    size = _size(_read(file)) if file is not None and file.is_file() else None
    return size or _sides(config.get("image_size")) or (SIDE, SIDE)


def pretraining_of(folder: Path) -> Pretraining:
    """How images looked to its weights.

    Raises:
        PretrainedError: if there is no such file, or images were prepared in a way that data here cannot be.
    """
    file = folder / PREPROCESSOR
    if not file.is_file():
        raise PretrainedError(
            f"{folder} has no {PREPROCESSOR}, which says how its images were standardised: bring it too, or "
            'write {"image_mean": [..], "image_std": [..], "size": ..} into one'
        )
    told = _read(file)
    for name in ("do_flip_channel_order", "rescale_offset"):
        if told.get(name):
            raise PretrainedError(
                f"{file} asks for {name}, which data here is not prepared with: leave pretrained out"
            )
    mean, std = told.get("image_mean"), told.get("image_std")
    if told.get("do_normalize") is False:
        mean, std = [0.0], [1.0]
    if mean is None or std is None:
        raise PretrainedError(
            f"{file} says no image_mean and image_std: write in how images were standardised"
        )
    channels = config_of(folder).get("num_channels", 3)
    scale = _BYTE * checks.number(told.get("rescale_factor", 1 / _BYTE), f"rescale_factor in {file}", above=0)
    if told.get("do_rescale") is False:
        scale = _BYTE
    mean, std = ([value / scale for value in _of_channels(v, channels, file)] for v in (mean, std))
    size = size_of(config_of(folder), folder)
    return Pretraining(tuple(mean), tuple(std), size, f"the weights of transformers in {folder.name}")


def _of_channels(values: object, channels: int, file: Path) -> tuple[float, ...]:
    listed = values if isinstance(values, Sequence) else [values]
    numbers = checks.numbers(listed, f"image_mean and image_std in {file}")
    return tuple(numbers) * channels if len(numbers) == 1 else tuple(numbers)


def _layers(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    for name in _OF_OTHERS:
        if config.get(name):
            raise ValueError(f"{where} sets {name}: nets with layers of another net are not built from it")
    return {
        name: _layers(value, where) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in _NO_LAYERS and not name.startswith("_")
    }


def _size(told: Mapping[str, Any]) -> tuple[int, int] | None:
    """That of the crop in the middle where there is one."""
    cropped = _sides(told.get("crop_size")) if told.get("do_center_crop") else None
    return cropped or _sides(told.get("size"))


def _sides(size: object) -> tuple[int, int] | None:
    """Sides in one of the ways in which transformers tells them; None if it is none of these."""
    if isinstance(size, Mapping):
        side = size.get("shortest_edge")
        size = [size.get("height", side), size.get("width", side)]
    sides = [size, size] if isinstance(size, int) else size
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(type(side) is int for side in sides):
        return None
    height, width = checks.shape_of_images((1, *sides), "size of images")[1:]
    return height, width


def _read(file: Path) -> dict[str, Any]:
    """Raises ValueError if it is no JSON object."""
    if file.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{file} is too large for a file of JSON: {_LARGEST_FILE} bytes are the most")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is no JSON object: it is not of transformers")
    return found
