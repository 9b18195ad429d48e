"""RANet: flows that read the image at growing resolution, coarsest first, each building on the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from anytimenet.core.segments import INPUT, InputSpec
from anytimenet.layers.init import init_weights, keep_default_init
from anytimenet.nets.arguments import as_numbers, check_positive, check_word
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.depth.multiscale_layers import ConvNormReLU, LargeImageStem, MultiScaleHead
from anytimenet.nets.depth.ranet_layers import FusionLayer, FusionTail
from anytimenet.nets.depth.ranet_plan import PlannedBlock, RANetPlan
from anytimenet.nets.registry import forms_of

PAPER = "Resolution Adaptive Networks for Efficient Inference"
CHANGED = "the flows have the authors' layers now, where form 1 guessed at them"
FORMS = ("cifar", "imagenet")
CLASSIFIERS = ("conv", "linear")


def ranet(
    num_classes: Sequence[int] = (10,),
    *,
    form: str = "cifar",
    blocks: Sequence[int] = (2, 4, 6, 8),
    scales: Sequence[int] = (1, 2, 3, 3),
    layers: int = 4,
    step_mode: str = "even",
    channels: int = 16,
    growth: int = 6,
    growth_factors: Sequence[int] = (4, 2, 1, 1),
    bottleneck_factors: Sequence[int] = (4, 2, 1, 1),
    share: float = 0.25,
    reduction: float = 0.5,
    classifier: str = "conv",
    classifier_width: int | None = 128,
    in_channels: int = 3,
    init: str = "msra",
) -> ChainNet:
    """A resolution adaptive net: dense flows of growing resolution, each with exits on its last blocks.

    Method card:
        Paper: Yang et al., "Resolution Adaptive Networks for Efficient Inference", 2020; the shapes are those
            of the authors' code, and every exit of its published forms has the published costs (`msd`,
            resizing free) and parameters.
        Nodes: `flow{f}_first` is the first layer's output for flow f, computed from the finest, the last
            flow's, to the coarsest. `flow{f}_block{i}_layer{l}` is a dense layer
            (`layers.resolution_fusion.FusionLayer`). Where flow f-1 has block i, too, a share of its new
            channels comes from what layer l of that block read, by an edge at that resolution with that
            flow's bottleneck factor, and `.._tail` joins a share of what that block's last layer gave
            (`FusionTail`). Where a block shrinks, its last layer has stride 2 and its old features are
            resized. `.._transition` is a 1x1 convolution that narrows. `RANetPlan` has the places and widths.
        Shared: every node by all stages that it leads to; ordinary BatchNorms.
        Per stage: the classifier on the block's output, at the coarsest resolution; for several label
            levels one whole classifier for each.
        State: the last features of the flow that runs, its first features for later flows, and of each block
            what later flows take in: old features stay in front, so one tensor a block holds what each layer
            read, two where the block shrank.
        Costs: a stage alone runs no earlier classifier. Where those cost more than the next flow adds, as in
            the ImageNet forms with their wide classifiers, a flow's first stage alone costs less than the
            stage before it; the cumulative costs always rise.
        Training: the plain sum of the stages' losses; SGD with momentum 0.9, not Nesterov's, weight decay
            1e-4. CIFAR: batch 64, 300 epochs, rate 0.1, a tenth at 50 % and 75 %. ImageNet: rate
            0.1 * 0.1^(epoch // 30); the authors' script passes neither epochs nor batch size, of which 90
            and 256, as for MSDNet, is the sensible reading.
        Deviations: classifiers pool over all that is left of the image, not 2x2 (the same at the published
            sizes), so that other sizes work. The authors' code takes one scale for a later flow, too, and
            then halves its image after every flow; here that is refused.

    Args:
        num_classes: classes of each label level, fine level first.
        form: "cifar", or "imagenet" with a first layer that divides the image's side by 4.
        blocks, scales, layers, step_mode, channels: of the flows, coarsest first; see `RANetPlan`.
        growth, growth_factors, bottleneck_factors, share, reduction: of the flows, too.
        classifier: "conv" (two convolutions, pooling, a linear layer) or "linear" (pooling and the layer).
        classifier_width: channels of those convolutions; None for as many as the features have.
        in_channels: channels of the images.
        init: "msra" (He, fan-out; the first layer keeps PyTorch's own) or "pytorch"; see `layers.init`.

    Raises:
        ValueError: for a number, list or word that makes no net.

    >>> net = ranet(blocks=(2, 3), scales=(1, 2), layers=1, growth_factors=(2, 1), bottleneck_factors=(2, 1))
    >>> [net.graph.exits[stage - 1] for stage in (1, 2, 3)]
    ['flow1_block1_layer1', 'flow1_block2_layer1', 'flow2_block3_layer1']
    >>> [(spec.name, spec.shape) for spec in net.state_spec(2, (3, 16, 16))]
    [('flow2_first', (16, 16, 16)), ('flow1_block1_layer1', (44, 8, 8)), ('flow1_block2_layer1', (56, 8, 8))]
    """
    check_positive(
        in_channels=in_channels, classifier_width=1 if classifier_width is None else classifier_width
    )
    check_word("form", form, FORMS)
    check_word("classifier", classifier, CLASSIFIERS)
    plan = RANetPlan(
        blocks=as_numbers("blocks", blocks),
        scales=as_numbers("scales", scales),
        layers=layers,
        step_mode=step_mode,
        channels=channels,
        growth=growth,
        growth_factors=as_numbers("growth_factors", growth_factors),
        bottleneck_factors=as_numbers("bottleneck_factors", bottleneck_factors),
        share=share,
        reduction=reduction,
    )
    flows = _Flows(plan, form, in_channels)
    smallest = 2 ** (plan.scales[-1] - 1) * (4 if form == "imagenet" else 1)
    net = ChainNet(
        flows.stages,
        flows.exits,
        [MultiScaleHead(width, num_classes, classifier, classifier_width) for width in flows.widths],
        num_classes=num_classes,
        input_spec=InputSpec("images", in_channels, smallest),
    )
    init_weights(net, init)
    return net


class _Flows:
    """The nodes of each stage, and of each exit the node that it reads and its channels."""

    def __init__(self, plan: RANetPlan, form: str, in_channels: int) -> None:
        self.plan = plan
        self.stages: list[list[Node]] = [[] for _ in range(plan.exits)]
        self.stages[0] += _first_layer(plan, form, in_channels)
        self.exits: list[str] = []
        self.widths: list[int] = []
        self.reads: dict[tuple[int, int], str] = {}  # of a flow's block, what its last layer reads
        self.ends: dict[tuple[int, int], str] = {}  # and that layer
        self.blocks = plan.flows()
        for flow in self.blocks:
            name = f"flow{flow[0].flow}_first"
            for block in flow:
                name = self._add_block(block, name)
                if block.has_exit:
                    self.exits.append(name)
                    self.widths.append(block.output)

    def _add_block(self, block: PlannedBlock, name: str) -> str:
        """Adds the nodes of `block`, which reads the node `name`; returns the name of its output."""
        nodes, prefix, place = self.stages[block.stage - 1], _prefix(block), (block.flow, block.number)
        for layer in range(1, block.layers + 1):
            self.reads[place] = name
            nodes.append(self._layer(block, layer, name))
            name = nodes[-1].name
        self.ends[place] = name
        if block.tail:
            before = self._before(block)
            tail = FusionTail(coarse=before.width_after, borrowed=block.tail)
            nodes.append(Node(f"{prefix}_tail", tail, (name, self.ends[before.flow, before.number])))
            name = nodes[-1].name
        if block.transition is not None:
            narrower = ConvNormReLU(block.width_after + block.tail, block.transition, 1)
            nodes.append(Node(f"{prefix}_transition", narrower, (name,)))
            name = nodes[-1].name
        return name

    def _layer(self, block: PlannedBlock, number: int, name: str) -> Node:
        factors, node_name = self.plan.bottleneck_factors, f"{_prefix(block)}_layer{number}"
        width, bottleneck = block.width_before(number), factors[block.flow - 1]
        if not block.borrowed:
            return Node(node_name, FusionLayer(width, block.growth, bottleneck=bottleneck), (name,))
        before = self._before(block)
        fusing = FusionLayer(
            width,
            block.growth,
            bottleneck=bottleneck,
            coarse=before.width_before(number),
            borrowed=block.borrowed,
            coarse_bottleneck=factors[before.flow - 1],
            stride=2 if block.shrinks and number == block.layers else 1,
        )
        # A dense block keeps its older features in front, so that one tensor holds what each of its layers
        # read: its end, or, where the end is smaller, what its last layer read.
        held = self.reads if before.shrinks else self.ends
        return Node(node_name, fusing, (name, held[before.flow, before.number]))

    def _before(self, block: PlannedBlock) -> PlannedBlock:
        return self.blocks[block.flow - 2][block.number - 1]


def _prefix(block: PlannedBlock) -> str:
    return f"flow{block.flow}_block{block.number}"


def _first_layer(plan: RANetPlan, form: str, in_channels: int) -> list[Node]:
    """From the finest features, the last flow's, to the coarsest."""
    last = len(plan.blocks)
    width = plan.first_width(last)
    finest: nn.Module = (
        LargeImageStem(in_channels, width, bias=True)
        if form == "imagenet"
        else ConvNormReLU(in_channels, width, 3)
    )
    nodes = [Node(f"flow{last}_first", keep_default_init(finest), (INPUT,))]
    for flow in range(last - 1, 0, -1):
        stride = 1 + plan.scales[flow] - plan.scales[flow - 1]
        module = ConvNormReLU(plan.first_width(flow + 1), plan.first_width(flow), 3, stride=stride)
        nodes.append(Node(f"flow{flow}_first", keep_default_init(module), (nodes[-1].name,)))
    return nodes


_THREE: dict[str, Any] = {
    "blocks": (2, 4, 6),
    "scales": (1, 2, 3),
    "growth_factors": (4, 2, 1),
    "bottleneck_factors": (4, 2, 1),
}
_IMAGENET: dict[str, Any] = {
    "form": "imagenet",
    "scales": (1, 2, 3, 4),
    "layers": 8,
    "growth": 16,
    "classifier_width": None,
}
_WIDE: dict[str, Any] = {
    "channels": 32,
    "growth_factors": (4, 2, 2, 1),
    "bottleneck_factors": (4, 2, 2, 1),
}
_SMALL: dict[str, Any] = _THREE | {
    "blocks": (2, 3, 4),
    "layers": 2,
    "channels": 8,
    "growth": 4,
    "classifier": "linear",
}
_TINY: dict[str, Any] = {
    "blocks": (2, 3),
    "scales": (1, 2),
    "layers": 2,
    "channels": 4,
    "growth": 4,
    "growth_factors": (2, 1),
    "bottleneck_factors": (2, 1),
    "classifier_width": 4,
}

_form = forms_of(ranet, paper=PAPER, family="ranet", form=2, changed=CHANGED)
_form("ranet_cifar_8", (3, 32, 32), "8 exits in 4 flows, 4 layers a block")()
_form("ranet_cifar_6", (3, 32, 32), "6 exits in 3 flows, 4 layers a block")(**_THREE)
_form(
    "ranet_cifar_6_growing",
    (3, 32, 32),
    "6 exits in 3 flows, 2 layers in first blocks, 4 in second ones, .. 12",
)(**_THREE, layers=2, step_mode="lin_grow")
_form("ranet_imagenet", (3, 224, 224), "8 exits in 4 flows, 8 layers a block")(**_IMAGENET)
_form("ranet_imagenet_wide", (3, 224, 224), "8 exits in 4 flows, 8 layers a block, twice the channels")(
    **_IMAGENET, **_WIDE
)
_form("ranet_small", (3, 16, 16), "minutes on 2 cores: 4 exits in 3 flows")(**_SMALL)
_form("ranet_tiny", (3, 8, 8), "for tests: 3 exits in 2 flows")(**_TINY)
