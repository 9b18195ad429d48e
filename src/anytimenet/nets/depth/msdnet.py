"""MSDNet: features at several scales in every layer, dense connections, predictions on the coarsest scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anytimenet.core.segments import InputSpec
from anytimenet.layers.init import init_weights
from anytimenet.nets.arguments import as_numbers, check_flag, check_positive, check_word
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.depth.msdnet_plan import MSDNetPlan, PlannedLayer
from anytimenet.nets.depth.multiscale_layers import ConvNormReLU, DenseNode, MultiScaleHead, first_layer
from anytimenet.nets.registry import forms_of

PAPER = "Multi-Scale Dense Networks for Resource Efficient Image Classification"
FORMS = ("cifar", "imagenet")
CLASSIFIERS = ("conv", "linear")


def msdnet(
    num_classes: Sequence[int] = (10,),
    *,
    form: str = "cifar",
    exits: int = 7,
    base: int = 4,
    step: int = 2,
    step_mode: str = "even",
    channels: int = 16,
    growth: int = 6,
    growth_factors: Sequence[int] = (1, 2, 4),
    bottleneck_factors: Sequence[int] = (1, 2, 4),
    bottleneck: bool = True,
    prune: str = "max",
    reduction: float = 0.5,
    classifier: str = "conv",
    classifier_width: int | None = 128,
    in_channels: int = 3,
    init: str = "msra",
) -> ChainNet:
    """A multi-scale dense net: each layer holds features at several scales, exits read the coarsest one.

    Method card:
        Paper: Huang et al., "Multi-Scale Dense Networks for Resource Efficient Image Classification", 2018;
            the shapes are those of the authors' code.
        Nodes: `layer0_scale{s}` are the first layer's, from fine to coarse. `layer{l}_scale{s}` reads
            layer l-1 at the finer scale and at its own (`layers.multiscale.DenseNode`). Where a layer drops
            a scale (with `prune="min"`, after a third and two thirds of the layers) a 1x1 convolution
            `transition{l}_scale{s}` follows at every kept scale.
        Shared: every node by all stages that it leads to; ordinary BatchNorms.
        Per stage: the classifier on the coarsest scale after the block's last layer; for several label
            levels one whole classifier for each.
        State: at each scale the last features that later exits read. The fine scales of a block's last
            layers serve later exits only and are left to their segments; `blocks` runs them where they
            were published, and the `msd` costs are counted there.
        Deviations: classifiers pool over all that is left of the image, not 2x2 (the same at the published
            sizes), so that other sizes work. The ImageNet form's 7x7 convolution has no bias, as in the Lua
            code (a BatchNorm follows it). He initialisation is applied, as meant; "pytorch" is what the
            PyTorch code effectively does. Fine-scale nodes behind which no exit follows, which a last
            block can have for other numbers of layers than the published ones, are left out.

    Args:
        num_classes: classes of each label level, fine level first.
        form: "cifar", or "imagenet" with a first layer that divides the image's side by 4.
        exits, base, step, step_mode: of the trunk; see `MSDNetPlan`.
        channels, growth, growth_factors, bottleneck_factors, bottleneck, prune, reduction: of the trunk, too.
        classifier: "conv" (two convolutions, pooling, a linear layer) or "linear" (pooling and the layer).
        classifier_width: channels of those convolutions; None for as many as the features have.
        in_channels: channels of the images.
        init: "msra" (He, fan-out) or "pytorch"; see `layers.init`.

    Raises:
        ValueError: for a number, list or word that makes no net.

    >>> net = msdnet(exits=3, channels=4, growth=2, classifier="linear")
    >>> sorted(set(net.blocks[0]) - set(net.segment(0, 1).nodes))
    ['layer3_scale0', 'layer4_scale1', 'transition4_scale1']
    >>> [spec.name for spec in net.state_spec(1, (3, 16, 16))]
    ['layer2_scale0', 'layer3_scale1', 'transition4_scale2']
    """
    check_positive(
        in_channels=in_channels, classifier_width=1 if classifier_width is None else classifier_width
    )
    check_flag(bottleneck=bottleneck)
    check_word("form", form, FORMS)
    check_word("classifier", classifier, CLASSIFIERS)
    plan = MSDNetPlan(
        exits=exits,
        base=base,
        step=step,
        step_mode=step_mode,
        channels=channels,
        growth=growth,
        growth_factors=as_numbers("growth_factors", growth_factors),
        bottleneck_factors=as_numbers("bottleneck_factors", bottleneck_factors),
        bottleneck=bottleneck,
        prune=prune,
        reduction=reduction,
    )
    blocks, exit_names, widths = _trunk(plan, form, in_channels)
    coarsest = len(plan.growth_factors) - 1
    smallest = 2**coarsest * (4 if form == "imagenet" else 1)
    net = ChainNet(
        _without_dead_ends(blocks, exit_names),
        exit_names,
        [MultiScaleHead(width, num_classes, classifier, classifier_width) for width in widths],
        num_classes=num_classes,
        input_spec=InputSpec("images", in_channels, smallest),
    )
    init_weights(net, init)
    return net


def _trunk(plan: MSDNetPlan, form: str, in_channels: int) -> tuple[list[list[Node]], list[str], list[int]]:
    """The nodes of each block, and of each exit the node that it reads and its channels."""
    factors = plan.growth_factors
    blocks: list[list[Node]] = [[] for _ in range(plan.exits)]
    blocks[0] += first_layer("layer0", [plan.channels * factor for factor in factors], form, in_channels)
    names = [node.name for node in blocks[0]]  # of each scale, the node that holds its features
    exit_names, widths = [""] * plan.exits, [0] * plan.exits
    for layer in plan.layers():
        block = blocks[layer.block - 1]
        nodes = [_dense_node(plan, layer, scale, names) for scale in range(layer.finest, len(factors))]
        width = layer.width_after
        if layer.transition is not None:
            block += nodes
            nodes = [
                _transition(layer, node, factor)
                for node, factor in zip(nodes, factors[layer.finest :], strict=True)
            ]
            width = layer.transition
        block += nodes
        names[layer.finest :] = [node.name for node in nodes]
        exit_names[layer.block - 1] = names[-1]
        widths[layer.block - 1] = width * factors[-1]
    return blocks, exit_names, widths


def _dense_node(plan: MSDNetPlan, layer: PlannedLayer, scale: int, names: Sequence[str]) -> Node:
    factors = plan.growth_factors
    bottlenecks = plan.bottleneck_factors if plan.bottleneck else (None,) * len(factors)
    alone = scale == layer.reads_from or scale == 0
    module = DenseNode(
        layer.width * factors[scale],
        plan.growth * factors[scale],
        own_bottleneck=bottlenecks[scale],
        finer=None if alone else layer.width * factors[scale - 1],
        finer_bottleneck=None if alone else bottlenecks[scale - 1],
    )
    inputs = (names[scale],) if alone else (names[scale - 1], names[scale])
    return Node(f"layer{layer.number}_scale{scale}", module, inputs)


def _transition(layer: PlannedLayer, node: Node, factor: int) -> Node:
    assert layer.transition is not None
    name = node.name.replace("layer", "transition")
    module = ConvNormReLU(layer.width_after * factor, layer.transition * factor, 1)
    return Node(name, module, (node.name,))


def _without_dead_ends(blocks: Sequence[Sequence[Node]], exit_names: Sequence[str]) -> list[list[Node]]:
    read = set(exit_names)
    for block in reversed(blocks):
        for node in reversed(block):
            if node.name in read:
                read.update(node.inputs)
    return [[node for node in block if node.name in read] for block in blocks]


_BATCH: dict[str, Any] = {"base": 1, "step": 1, "step_mode": "lin_grow"}
_IMAGENET: dict[str, Any] = {
    "form": "imagenet",
    "exits": 5,
    "channels": 32,
    "growth": 16,
    "growth_factors": (1, 2, 4, 4),
    "bottleneck_factors": (1, 2, 4, 4),
    "classifier_width": None,
}
_TINY: dict[str, Any] = {
    "exits": 3,
    "base": 2,
    "step": 1,
    "channels": 3,
    "growth": 2,
    "growth_factors": (1, 1, 2),
    "bottleneck_factors": (1, 1, 2),
    "classifier_width": 4,
}
_SMALL: dict[str, Any] = {
    "exits": 4,
    "base": 2,
    "step": 2,
    "channels": 7,  # so that it costs what isresnext_small costs
    "growth": 4,
    "classifier": "linear",
}


_form = forms_of(msdnet, paper=PAPER, family="msdnet")
_form("msdnet_cifar_7", (3, 32, 32), "7 exits at layers 4, 6, .. 16")(exits=7)
_form("msdnet_cifar_10", (3, 32, 32), "10 exits at layers 4, 6, .. 22")(exits=10)
_form("msdnet_cifar_batch_5", (3, 32, 32), "for budgeted batches: 5 exits at layers 1, 3, 6, 10, 15")(
    exits=5, **_BATCH
)
_form("msdnet_cifar_batch_7", (3, 32, 32), "for budgeted batches: 7 exits at layers 1, 3, 6, .. 28")(
    exits=7, **_BATCH
)
_form("msdnet_imagenet_step4", (3, 224, 224), "5 exits, 4 layers apart")(**_IMAGENET, base=4, step=4)
_form("msdnet_imagenet_step6", (3, 224, 224), "5 exits, 6 layers apart")(**_IMAGENET, base=6, step=6)
_form("msdnet_imagenet_step7", (3, 224, 224), "5 exits, 7 layers apart")(**_IMAGENET, base=7, step=7)
_form("msdnet_small", (3, 16, 16), "minutes on 2 cores: 4 exits")(**_SMALL)
_form("msdnet_tiny", (3, 8, 8), "for tests: 3 exits")(**_TINY)
