"""Zero Time Waste by name: on which backbone, with which heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anytimenet.layers.heads.named import HeadConfig
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.depth import (  # noqa: F401  (registers the backbones)
    efficientnet_lite,
    resnet_ann,
    resnext_exits,
)
from anytimenet.nets.members.specs import MemberSpec, build_members, spell_out
from anytimenet.nets.pretrained import efficientnet_lite0
from anytimenet.nets.pretrained.weights import PretrainedWeights, copy_weights
from anytimenet.nets.registry import create_net, forms_of
from anytimenet.nets.wrapped.zero_time_waste import FAMILY, PAPER, Ensembles, zero_time_waste

_SMALL = spell_out({"name": "resnet_ann_small"})[0]
_TINY = {"name": "resnext_exits_tiny"}
_LITE0 = spell_out({"name": "efficientnet_lite0"})[0]


def zero_time_waste_net(
    num_classes: Sequence[int] = (10,),
    *,
    backbone: str | MemberSpec = _SMALL,
    head: str | Mapping[str, Any] | None = None,
    ensembles: Ensembles = "geometric",
    keep_last: bool = False,
    input_shape: Sequence[int] | None = None,
    in_channels: int = 3,
    init: str = "msra",
) -> ChainNet:
    """Zero Time Waste on a registered net with fresh weights; see `zero_time_waste`.

    Args:
        num_classes: classes of each label level, fine level first.
        backbone: `{"name": NET, "arguments": {...}, "keep": [stages]}`, or the name alone.
        head: "conv", "mlp", "linear" or "token", or the fields of a `layers.heads.HeadConfig`.
        ensembles: "geometric", "arithmetic" or "none".
        keep_last: whether the backbone's own head stays as it is while the others learn: for weights that
            are loaded into the net.
        input_shape: (C, H, W) of the images, if not the backbone's.
        in_channels: channels of the images; an argument of the backbone goes first.
        init: of the backbone, see `layers.init`; an argument of the backbone goes first.

    Raises:
        ValueError: if the backbone cannot be built or is no chain of blocks with exits.

    >>> zero_time_waste_net(backbone="msdnet_tiny").num_stages
    3
    """
    spec = {"name": backbone} if isinstance(backbone, str) else backbone
    [net] = build_members([spec], num_classes, in_channels, init)
    if not isinstance(net, ChainNet):
        raise ValueError(
            f"backbone {spec['name']!r} is no chain of blocks with exits: use a net that grows in depth, "
            'such as "efficientnet_lite0"'
        )
    own = HeadConfig.from_dict(dict(head)) if isinstance(head, Mapping) else head
    return zero_time_waste(net, own, ensembles=ensembles, keep_last=keep_last, input_shape=input_shape)


def _fill(net: AnytimeNet) -> None:
    """Fills the backbone with its trained weights, as `create_net(BACKBONE, pretrained=True)` does."""
    assert net.origin is not None
    spec = net.origin.arguments.get("backbone", _LITE0)
    name = spec if isinstance(spec, str) else spec["name"]
    if name != _LITE0["name"]:
        raise ValueError(
            f"the trained weights are those of {_LITE0['name']}, and the backbone is {name}: use "
            "zero_time_waste(create_net(NAME, pretrained=True))"
        )
    arguments = {} if isinstance(spec, str) else dict(spec.get("arguments") or {})
    own = net.state_dict()
    trained = create_net(name, net.num_classes, pretrained=True, **arguments).state_dict()
    shared = {key: tensor for key, tensor in trained.items() if key in own}
    copy_weights(net, shared, new=lambda key: key not in shared)


_form = forms_of(zero_time_waste_net, paper=PAPER, family=FAMILY)
_form(FAMILY, (3, 16, 16), "a cascade of heads and ensembles on any chain: backbone=NET")()
_form(
    "ztw_efficientnet_lite0",
    (3, 224, 224),
    "on EfficientNet-Lite0: convolutional heads after 4 blocks; pretrained",
    PretrainedWeights(efficientnet_lite0.WEIGHTS.pretraining, _fill),
)(backbone=_LITE0)
_form("ztw_small", (3, 16, 16), "minutes on 2 cores: on ResANN: c=16, convolutional heads")(backbone=_SMALL)
_form("ztw_tiny", (3, 8, 8), "for tests: convolutional heads on ResNeXt with 3 exits")(backbone=_TINY)
