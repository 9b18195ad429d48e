"""Chains, exits and wrapped modules: what they compute, and what they refuse."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.layers.heads import Head
from anytimenet.nets import ChainNet, ExitNet, Node, create_net, wrap
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.testing import check_anytime_net
from anytimenet.training.statistics import reestimate_statistics


def conv(channels: int, filters: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU())


def three_blocks() -> nn.Sequential:
    return nn.Sequential(conv(3, 4), conv(4, 5), conv(5, 6), conv(6, 7))


# --- chains ---------------------------------------------------------------------------------------------


def test_work_that_only_later_stages_need_is_left_to_them_and_the_net_keeps_the_contract():
    def node(name: str, channels: int, filters: int, *inputs: str) -> Node:
        return Node(name, Joined(channels, filters), inputs)

    net = ChainNet(
        [
            [node("coarse1", 3, 4, "x"), node("fine1", 3, 2, "x")],
            [node("coarse2", 6, 5, "coarse1", "fine1"), node("fine2", 2, 2, "fine1")],
            [node("coarse3", 7, 5, "coarse2", "fine2")],
        ],
        exits=("coarse1", "coarse2", "coarse3"),
        heads=[Head(channels, (5,)) for channels in (4, 5, 5)],
        num_classes=(5,),
    )
    assert list(net.segment(0, 1).nodes) == ["coarse1"]
    assert list(net.segment(1, 2).nodes) == ["fine1", "coarse2"]
    assert net.blocks[0].writes == ("fine1", "coarse1")
    assert [spec.name for spec in net.state_spec(2, (3, 8, 8))] == ["fine1", "coarse2"]
    check_anytime_net(net, (3, 8, 8))


class Joined(nn.Module):
    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, 3, padding=1)

    def forward(self, *tensors: Tensor) -> Tensor:
        return F.relu(self.conv(torch.cat(tensors, 1)))


def identity_chain(*links: tuple[str, tuple[str, ...]], exits: tuple[str, ...] = ("a",)) -> ChainNet:
    blocks = [[Node(name, nn.Identity(), inputs) for name, inputs in links]]
    return ChainNet(blocks, exits, [nn.Flatten()], num_classes=(3,))


@pytest.mark.parametrize(
    ("links", "exits", "message"),
    [
        ([("a", ("x",)), ("a", ("x",))], ("a",), "names are different"),
        ([("x", ("x",))], ("x",), "not 'x'"),
        ([("a.b", ("x",))], ("a.b",), "without dots"),
        ([("a", ("b",)), ("b", ("x",))], ("b",), r"reads \['b'\]"),
        ([("a", ())], ("a",), "reads nothing"),
        ([("a", ("x",))], ("b",), "stage 1 reads 'b', which is no node"),
        ([("a", ("x",))], ("x",), "no node"),
        ([("a", ("x",)), ("b", ("a",))], ("a",), "'b' serves no prediction"),
        ([("a", ("x",))], ("a", "a"), "one of each a stage"),
    ],
)
def test_a_graph_that_is_none_is_refused(links, exits, message):
    with pytest.raises(ValueError, match=message):
        identity_chain(*links, exits=exits)


def test_a_stage_cannot_need_a_later_block():
    blocks = [[Node("a", nn.Identity(), ("x",))], [Node("b", nn.Identity(), ("a",))]]
    with pytest.raises(ValueError, match="stage 1 needs 'b' of block 2"):
        ChainNet(blocks, ("b", "b"), [nn.Flatten(), nn.Flatten()], num_classes=(3,))


def test_shapes_are_found_without_touching_weights_or_statistics():
    net = create_net("resnext_exits_tiny").train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert net.node_shapes((3, 8, 8))["block3"] == (32, 2, 2)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


# --- exits on a list of blocks -----------------------------------------------------------------------------


def test_an_exit_net_runs_the_blocks_one_after_the_other():
    layers = three_blocks()
    net = ExitNet(layers[0], layers[1:], exits_after=(1, 3), num_classes=(5, 2), input_shape=(3, 8, 8)).eval()
    x = torch.randn(2, 3, 8, 8)
    after_1 = layers[1](layers[0](x))
    expected = [net.heads[0].head(after_1), net.heads[1].head(layers[3](layers[2](after_1)))]
    for ours, theirs in zip(net(x), expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    check_anytime_net(net, (3, 8, 8))


def test_a_head_of_ones_own_is_built_for_the_shape_of_its_exit():
    def head(shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(shape[0], 4))

    net = ExitNet(None, three_blocks(), (2, 4), head, num_classes=4, input_shape=(3, 8, 8))
    assert [h.head[2].in_features for h in net.heads] == [5, 7]
    check_anytime_net(net, (3, 8, 8), export=False)


@pytest.mark.parametrize(
    ("blocks", "exits_after", "options", "message"),
    [
        ([conv(3, 4), conv(4, 5)], (1,), {}, "the last of them 2"),
        ([conv(3, 4), conv(5, 5)], (1, 2), {}, r"block2 cannot read images or features of shape \(4, 8, 8\)"),
        ([conv(3, 4), nn.Flatten()], (1, 2), {}, "block2 gives a tensor of shape"),
        ([conv(3, 4), nn.ReLU(inplace=True), conv(4, 4)], (1, 3), {}, "block2 overwrites its input 'block1'"),
        ([nn.ReLU(inplace=True), conv(3, 4)], (2,), {}, "block1 overwrites its input 'x'"),
        ([conv(3, 4)], (1,), {"input_shape": (1, 8, 8)}, r"block1 cannot read .* \(1, 8, 8\)"),
        ([nn.LSTM(8, 4)], (1,), {}, "block1 (must give one tensor|cannot read)"),
    ],
)
def test_what_cannot_be_a_chain_of_exits_is_refused(blocks, exits_after, options, message):
    with pytest.raises(ValueError, match=message):
        ExitNet(None, blocks, exits_after, **{"input_shape": (3, 8, 8), **options})


def test_heads_that_do_not_fit_are_refused():
    def of_seven(shape: tuple[int, ...]) -> nn.Sequential:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(shape[0], 7))

    def overwriting(shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.ReLU(inplace=True), *of_seven(shape))

    with pytest.raises(ValueError, match=r"head of stage 1 gives logits of \(7,\) classes where \(10,\)"):
        ExitNet(None, [conv(3, 4)], (1,), of_seven, input_shape=(3, 8, 8))
    with pytest.raises(ValueError, match="head of stage 1 overwrites the features"):
        ExitNet(None, [conv(3, 4)], (1,), overwriting, num_classes=7, input_shape=(3, 8, 8))


def test_a_blocks_view_of_exits_has_one_tensor_a_border():
    net = create_net("resnext_exits_tiny").eval()
    state: tuple[Tensor, ...] = (torch.randn(2, 3, 8, 8),)
    for block, head, (expected,) in zip(net.blocks, net.heads, net(state[0]), strict=True):
        state = block(state)
        assert len(state) == 1
        assert torch.equal(head(state)[0], expected)


# --- modules that exist already -----------------------------------------------------------------------------


class Backbone(nn.Module):
    """In the manner of common backbones: named layers, and a flattening between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(conv(4, 5), conv(5, 5))
        self.layer2 = conv(5, 6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.act(self.stem(x))))
        y: Tensor = self.fc(torch.flatten(self.pool(x), 1))
        return y


@pytest.mark.parametrize("taps", [["layer1"], ["act", "layer1.0"], ["layer1.0", "layer1.1"]])
def test_the_last_stage_of_a_wrapped_module_is_the_modules_own_answer(taps):
    module = Backbone().train()
    net = wrap(module, taps, input_shape=(3, 8, 8))
    assert all(part.training for part in module.modules())
    assert net.num_stages == len(taps) + 1
    x = torch.randn(4, 3, 8, 8)
    net.eval()
    assert torch.equal(net(x)[-1][0], module.eval()(x))
    check_anytime_net(net, (3, 8, 8), export=False)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_wrapped_module_gets_heads_for_coarser_levels_at_every_stage(frozen):
    module = Backbone()
    net = wrap(module, ["layer1.0", "layer1.1"], input_shape=(3, 8, 8), frozen=frozen, coarser=(4, 2)).eval()
    x = torch.randn(4, 3, 8, 8)
    outputs = net(x)
    assert net.num_classes == (10, 4, 2)
    assert all([logits.shape for logits in output] == [(4, 10), (4, 4), (4, 2)] for output in outputs)
    assert torch.equal(outputs[-1][0], module.eval()(x))
    if frozen:
        learning = {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
        assert learning == {"heads"}
    else:
        check_anytime_net(net, (3, 8, 8), export=False)


def test_training_a_wrapped_net_trains_the_module():
    module = Backbone()
    net = wrap(module, ["layer1"], input_shape=(3, 8, 8))
    theirs = {id(parameter) for parameter in module.parameters()}
    assert theirs <= {id(parameter) for parameter in net.parameters()}


def test_only_the_heads_of_a_frozen_module_learn():
    module = Backbone().eval()
    x = torch.randn(8, 3, 8, 8)
    before = module(x)
    net = wrap(module, ["layer1.0", "layer1.1"], frozen=True, input_shape=(3, 8, 8)).train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1)
    heads = [parameter.clone() for parameter in net.heads[0].parameters()]
    sum(logits.square().sum() for (logits,) in net(x)).backward()
    optimiser.step()
    assert torch.equal(module(x), before)
    assert all((a != b).any() for a, b in zip(heads, net.heads[0].parameters(), strict=True))


def test_a_wrapped_double_precision_module_gets_heads_of_its_kind():
    net = wrap(Backbone().double(), ["layer1"], input_shape=(3, 8, 8)).eval()
    assert {logits.dtype for (logits,) in net(torch.randn(1, 3, 8, 8, dtype=torch.float64))} == {
        torch.float64
    }


class PoolsByFunction(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.act(self.stem(x))))
        y: Tensor = self.fc(self.pool(x.mean((2, 3), keepdim=True)).flatten(1))
        return y


def test_global_pooling_between_sub_modules_becomes_a_layer():
    module = PoolsByFunction().eval()
    net = wrap(module, ["layer1"], input_shape=(3, 8, 8)).eval()
    x = torch.randn(4, 3, 12, 12)
    assert torch.allclose(net(x)[-1][0], module(x), rtol=1e-5, atol=1e-6)


class Twice(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1[1](self.layer1(self.act(self.stem(x)))))
        y: Tensor = self.fc(torch.flatten(self.pool(x), 1))
        return y


class Idle(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.act(self.stem(x)))
        y: Tensor = self.fc(torch.flatten(self.pool(torch.cat([x, x[:, :1]], 1)), 1))
        return y


class Reads(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float(x.mean())


@pytest.mark.parametrize(
    ("module", "taps", "message"),
    [
        (Backbone(), ["layer3"], "no sub-module 'layer3': did you mean"),
        (Backbone(), "layer1", "taps must be a list of names"),
        (Backbone(), [], "taps is a list"),
        (Backbone(), [1, 2], "taps must be text, not 1"),
        (Backbone(), ["layer1", "layer1"], "name each sub-module once"),
        (Backbone(), ["fc"], "leave it out"),
        (Backbone(), ["layer2"], "leave that tap out"),
        (Backbone(), ["layer1", "act"], "in the order in which they run"),
        (Backbone(), ["stem"], "overwrites its input"),
        (Backbone(), ["layer1", "layer1.0"], "in the order in which they run"),
        (Backbone(), ["layer1.1", "layer1"], "give the same tensor"),
        (Idle(), ["layer2"], "layer2 did not run"),
        (Twice(), ["layer1.1"], "layer1.1 ran 2 times"),
        (Reads(), ["layer1"], "torch.export cannot follow the module's forward"),
        (nn.Sequential(conv(3, 4), conv(4, 5)), ["0"], "must return logits"),
        (nn.Sequential(conv(1, 4), conv(4, 5)), ["0"], "cannot read images of shape"),
    ],
)
def test_a_module_that_cannot_be_cut_is_refused_with_the_place(module, taps, message):
    with pytest.raises((TypeError, ValueError), match=message):
        wrap(module, taps, input_shape=(3, 8, 8))


def test_a_wrapped_ordered_sequential_keeps_flattening_where_it_was():
    layers = OrderedDict(
        features=conv(3, 4),
        more=conv(4, 4),
        pool=nn.AdaptiveAvgPool2d(2),
        flat=nn.Flatten(),
        fc=nn.Linear(16, 3),
    )
    net = wrap(nn.Sequential(layers), ["features"], input_shape=(3, 8, 8))
    check_anytime_net(net, (3, 8, 8), export=False)


def test_dropout_as_a_sub_module_is_fine():
    parts = OrderedDict(a=conv(3, 4), b=conv(4, 4), drop=nn.Dropout(), pool=nn.AdaptiveAvgPool2d(1))
    module = nn.Sequential(OrderedDict(**parts, flat=nn.Flatten(), fc=nn.Linear(4, 3)))
    assert wrap(module, ["a"], input_shape=(3, 8, 8)).num_stages == 2


def test_two_nodes_cannot_be_one_module():
    shared = conv(4, 4)
    with pytest.raises(ValueError, match="block2 shares weights with block1"):
        ExitNet(conv(3, 4), [shared, shared], (1, 2), input_shape=(3, 8, 8))


@pytest.mark.parametrize(
    "between",
    [
        [nn.Identity(), nn.ReLU(inplace=True)],
        [nn.Sequential(nn.Dropout(), nn.ReLU(inplace=True))],  # passes its input on in eval mode only
    ],
)
def test_what_is_kept_cannot_be_overwritten_through_a_layer_that_passes_it_on(between):
    blocks = [conv(3, 4), *between, conv(4, 5)]
    for mode in (True, False):
        nn.ModuleList(blocks).train(mode)
        with pytest.raises(ValueError, match="overwrites its input 'block1'"):
            ExitNet(None, blocks, (1, len(blocks)), input_shape=(3, 8, 8))


def test_a_double_precision_list_of_blocks_gets_heads_of_its_kind():
    net = ExitNet(None, three_blocks().double(), (2, 4), input_shape=(3, 8, 8)).eval()
    assert net(torch.randn(1, 3, 8, 8, dtype=torch.float64))[0][0].dtype == torch.float64


def test_a_batchnorm_without_momentum_has_a_shape_too():
    norm = nn.BatchNorm2d(4, momentum=None)
    assert ExitNet(None, [nn.Conv2d(3, 4, 3), norm, conv(4, 4)], (3,), input_shape=(3, 8, 8)).num_stages == 1
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("name", ["pop", "type", "training", "writes"])
def test_a_node_cannot_have_the_name_of_an_attribute(name):
    with pytest.raises(ValueError, match=f"cannot be named '{name}'"):
        identity_chain((name, ("x",)), exits=(name,))


def test_a_head_that_was_meant_for_channels_is_told_of_the_shape():
    with pytest.raises(ValueError, match=r"features of shape \(4, 8, 8\).*lambda shape: PooledHead"):
        ExitNet(None, [conv(3, 4)], (1,), lambda channels: nn.Linear(channels, 10), input_shape=(3, 8, 8))


def test_a_head_must_be_a_function_of_the_shape():
    for build in (
        lambda: ExitNet(None, [conv(3, 4)], (1,), nn.Flatten(), input_shape=(3, 8, 8)),
        lambda: wrap(Backbone(), ["layer1"], nn.Flatten(), input_shape=(3, 8, 8)),
    ):
        with pytest.raises(ValueError, match="head is a function of the features' shape"):
            build()


def test_a_module_that_cannot_be_wrapped_is_not_frozen():
    module = Backbone()
    with pytest.raises(ValueError, match="overwrites its input"):
        wrap(module, ["stem"], frozen=True, input_shape=(3, 8, 8))
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_statistics_of_a_frozen_module_are_not_estimated_anew_and_its_weights_not_drawn():
    module = Backbone()
    net = wrap(module, ["layer1"], frozen=True, input_shape=(3, 8, 8))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    class Batches:
        def epoch(self, number):
            yield torch.randn(8, 3, 8, 8), ()

    reestimate_statistics(net, Batches())
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert net.heads[0].head.levels[0].norm.num_batches_tracked == 1
    with pytest.raises(ValueError, match="a frozen module keeps its weights"):
        draw_weights(net)


def test_blocks_in_eval_mode_are_kept_in_it():
    blocks = [nn.Sequential(nn.Conv2d(i, o, 3), nn.BatchNorm2d(o)) for i, o in ((3, 4), (4, 6))]
    net = ExitNet(None, [blocks[0].eval(), blocks[1]], (1, 2), num_classes=5, input_shape=(3, 16, 16))
    kept = net.keep((1, 2))
    assert [part.training for part in kept.blocks.modules() if isinstance(part, nn.BatchNorm2d)] == [
        False,
        True,
    ]
    assert all(not part.training for part in net.eval().keep((1,)).modules())
