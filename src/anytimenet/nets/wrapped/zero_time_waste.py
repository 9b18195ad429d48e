"""Zero Time Waste: heads that read each other and ensembles of them, on any chain of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from anytimenet.core import checks
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.layers.heads.cascade import (
    ArithmeticEnsemble,
    CascadeHead,
    Ensemble,
    GeometricEnsemble,
    Levels,
)
from anytimenet.layers.heads.named import HEADS, HeadConfig, build_body, is_channels_last
from anytimenet.layers.init import keep_default_init
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.chain.exits import is_square
from anytimenet.nets.chain.shapes import check_features
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.members.specs import describe_member
from anytimenet.nets.registry import net_entry

Ensembles = Literal["geometric", "arithmetic", "none"]
ENSEMBLES = ("geometric", "arithmetic", "none")
_KINDS: dict[str, type[Ensemble]] = {"geometric": GeometricEnsemble, "arithmetic": ArithmeticEnsemble}

PAPER = "Zero time waste in pre-trained early exit neural networks"
FAMILY = "zero_time_waste"


def zero_time_waste(
    backbone: AnytimeNet,
    head: str | HeadConfig | None = None,
    *,
    ensembles: Ensembles = "geometric",
    keep_last: bool = True,
    input_shape: Sequence[int] | None = None,
) -> ChainNet:
    """`backbone` with a cascade of new heads in place of those on the way, and ensembles of their answers.

    Method card:
        Paper: Wojcik et al., "Zero time waste in pre-trained early exit neural networks" (Neural Networks
            2023), and Wolczyk et al., "Zero Time Waste: Recycling Predictions in Early Exit Neural Networks"
            (NeurIPS 2021).
        Shared: the blocks of the backbone, as in any chain, and the cascade: the head of stage m reads the
            logits of the head of stage m - 1, so that stage m needs all heads before it.
        Per stage: an ensemble of heads 1..m. The last stage is the backbone's own head, without an ensemble.
        State: the backbone's features, and the logits of all heads so far.
        Training: `TrainConfig(regime="frozen")`: heads first, then the ensembles; see
            `training.cascade_first`.
        Deviations: with several label levels each has a cascade and an ensemble of its own (the paper has
            one). A convolutional head on small maps: see `layers.heads.bodies.Convolutional`. The ensembles'
            v is drawn with 0.01 as its standard deviation.

    A run that jumps over stages runs their heads all the same, but not their ensembles: costs say so.

    Args:
        backbone: a `ChainNet`. Its blocks and its last head become part of the new net; its other heads are
            left out.
        head: "conv", "mlp", "linear" or "token", or a `layers.heads.HeadConfig`. By default "conv" on maps
            and "mlp" on tokens; for a class token HeadConfig("mlp", pool="first").
        ensembles: "geometric" or "arithmetic" means of the heads' probabilities, or "none": then each stage
            answers with its own head.
        keep_last: whether the backbone's own head stays as it is, as in the paper. False for a backbone whose
            last head has not learnt yet: it then learns beside the others.
        input_shape: (C, H, W) of the images, which settles how many positions a head reads. By default that
            of the backbone.

    Raises:
        TypeError: if the backbone is no `ChainNet`.
        ValueError: for a backbone of one stage, an unknown head or ensemble, or a head that cannot read its
            features.

    >>> from anytimenet.nets import create_net
    >>> net = zero_time_waste(create_net("resnext_exits_tiny", 4), "conv")
    >>> net.state_names(1), net.state_names(2)  # the last answer reads no head's
    (('block1', 'answer1'), ('block2',))
    """
    checks.instance(backbone, ChainNet, "backbone", 'create_net("efficientnet_lite0")')
    assert isinstance(backbone, ChainNet)
    if backbone.num_stages < 2:
        raise ValueError("the backbone has one stage: a cascade needs exits on the way to the last one")
    config = HeadConfig(checks.choice(head, "head", HEADS)) if isinstance(head, str) else head
    checks.optional(config, "head", lambda value, name: checks.instance(value, HeadConfig, name, '"conv"'))
    checks.choice(ensembles, "ensembles", ENSEMBLES)
    keep_last = checks.flag(keep_last, "keep_last")
    shape = _input_shape(backbone, input_shape)
    exits = backbone.graph.exits[:-1]
    features = backbone.node_shapes(shape, backbone.graph.needed(range(1, backbone.num_stages)))
    weight = next(backbone.parameters())
    blocks, names = backbone.nodes, []
    for stage, read in enumerate(exits, 1):
        check_features(features[read], f"stage {stage} of the backbone")
        own = config or HeadConfig("conv" if len(features[read]) == 3 else "mlp")
        last = is_square(shape) and is_channels_last(features[read])
        with torch.device(weight.device):
            added = _added(stage, read, own, features[read], last, backbone.num_classes, ensembles)
        for node in added:
            keep_default_init(node.module.to(weight.dtype))
        blocks[stage - 1] += added
        names.append(added[-1].name)
    if keep_last:
        backbone.heads[-1].requires_grad_(False)
    net = ChainNet(
        blocks,
        [*names, backbone.graph.exits[-1]],
        [*(Levels(backbone.num_classes) for _ in names), backbone.heads[-1]],
        num_classes=backbone.num_classes,
        input_spec=backbone.input_spec,
    )
    net.input_shape = shape
    net.origin, net.pretraining = _origin(backbone, config, ensembles, keep_last, shape), backbone.pretraining
    return net


def _added(
    stage: int,
    read: str,
    config: HeadConfig,
    shape: Sequence[int],
    channels_last: bool,
    num_classes: tuple[int, ...],
    ensembles: Ensembles,
) -> list[Node]:
    """The head of a stage and its ensemble."""
    body = build_body(config, shape, channels_last=channels_last)
    before = [f"answer{stage - 1}"] if stage > 1 else []
    answer = Node(f"answer{stage}", CascadeHead(body, num_classes, first=stage == 1), (read, *before))
    if ensembles == "none":
        return [answer]
    answers = tuple(f"answer{number}" for number in range(1, stage + 1))
    return [answer, Node(f"ensemble{stage}", _KINDS[ensembles](stage, num_classes), answers)]


def _input_shape(backbone: ChainNet, shape: Sequence[int] | None) -> tuple[int, ...]:
    """What is said, what the backbone remembers, what its name was published with, the one that it reads."""
    if shape is None:
        shape = backbone.input_shape
    if shape is None and backbone.origin is not None and backbone.input_spec.kind == "images":
        shape = (backbone.in_channels, *net_entry(backbone.origin.name).input_shape[1:])
    if shape is None and backbone.input_spec.kind == "images" and backbone.input_spec.fixed is None:
        raise ValueError(
            "the backbone does not say for images of which size it was built, and heads are made for one: "
            "give input_shape=(C, H, W)"
        )
    shape = backbone.input_spec.smallest_shape if shape is None else backbone.input_spec.shape_of(shape)
    backbone.input_spec.check(shape)
    return shape


def _origin(
    backbone: ChainNet,
    config: HeadConfig | None,
    ensembles: Ensembles,
    keep_last: bool,
    shape: tuple[int, ...],
) -> NetOrigin | None:
    """How `create_net` builds such a net; None for a backbone that was built by hand."""
    described = describe_member(backbone)
    if described is None:
        return None
    arguments = {
        "num_classes": list(backbone.num_classes),
        "backbone": described,
        "head": None if config is None else config.to_dict(),
        "ensembles": ensembles,
        "keep_last": keep_last,
        "input_shape": list(shape),
    }
    return NetOrigin(FAMILY, arguments)
