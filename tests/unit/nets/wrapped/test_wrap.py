"""What a wrapped module keeps of the module: its answer, its weights, and how it learns."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.unit.nets.wrapped import toys
from torch import Tensor, nn

from anytimenet.costs.segment_specs import segment_specs
from anytimenet.export.torch_files import program_of
from anytimenet.layers.snapshots import tensor_names
from anytimenet.nets import wrap
from anytimenet.testing import check_anytime_net

SHAPE = (3, 8, 8)
EVERY = [
    (toys.ViT, ["layers.0", "layers.2"]),
    (toys.ViT, ["layers.0.mlp", "layers.1"]),
    (toys.UNet, ["low", "up2"]),
    (toys.UNet, ["down1", "down2"]),
    (toys.ByFunction, ["stem", "layer1"]),
    (toys.Windows, ["layers.0", "layers.1"]),
    (toys.Structured, ["stem"]),
    (toys.Structured, ["pair.a"]),
    (toys.Recurrent, ["after"]),
    (toys.SharedTable, ["patch", "layers.1.out"]),
]


def draw(build: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build()


@pytest.mark.parametrize(("build", "taps"), EVERY)
def test_the_last_stage_is_the_modules_own_answer_by_any_path(build, taps):
    module = draw(build)
    net = wrap(module, taps, input_shape=SHAPE).eval()
    x = torch.randn(5, *SHAPE)
    expected = module.eval()(x)
    expected = expected if isinstance(expected, Tensor) else expected.logits
    torch.testing.assert_close(net(x)[-1][0], expected, rtol=1e-5, atol=1e-6)
    state = (x,)
    for stage in range(1, net.num_stages + 1):
        state, (logits,) = net.segment(stage - 1, stage)(state)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("build", "taps"), EVERY)
def test_training_moves_the_same_weights_and_statistics_as_training_the_module(build, taps):
    module = draw(build)
    twin = copy.deepcopy(module).train()
    net = wrap(module, taps, input_shape=SHAPE).train()
    theirs = {id(parameter) for parameter in module.parameters()}
    assert theirs <= {id(parameter) for parameter in net.parameters()}
    x = torch.randn(5, *SHAPE)
    answers = []
    for run in (lambda: net(x, [net.num_stages])[0][0], lambda: twin(x)):
        torch.manual_seed(1)  # for dropout
        answer = run()
        answer = answer if isinstance(answer, Tensor) else answer.logits
        answer.square().sum().backward()
        answers.append(answer.detach())
    torch.testing.assert_close(*answers)
    for ours, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for ours, theirs in zip(module.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("build", "taps"),
    [
        (toys.ViT, ["layers.0", "layers.2"]),
        (toys.UNet, ["down2", "low", "up2"]),
        (toys.SharedTable, ["layers.0.out", "layers.1.out"]),
    ],
)
def test_a_wrapped_net_keeps_the_contract_and_its_segments_are_exported(build, taps):
    check_anytime_net(wrap(draw(build), taps, input_shape=SHAPE), SHAPE)


def test_statistics_move_and_dropout_acts_in_training_and_neither_does_in_evaluation():
    module = draw(toys.ByFunction)
    net = wrap(module, ["stem", "layer1"], input_shape=SHAPE)
    x = torch.randn(16, *SHAPE)
    net.eval()
    before = module.mean.clone()
    assert torch.equal(net(x)[-1][0], net(x)[-1][0])
    assert torch.equal(module.mean, before)
    net.train()
    one, other = (net(x)[-1][0] for _ in range(2))
    assert not torch.equal(one, other)
    assert (module.mean != before).all()
    assert all(norm.num_batches_tracked == 2 for norm in module.modules() if isinstance(norm, nn.BatchNorm2d))


def test_a_state_holds_what_later_stages_read():
    net = wrap(draw(toys.UNet), ["down2", "low", "up2"], input_shape=SHAPE)
    assert [net.state_names(stage) for stage in (1, 2, 3)] == [
        ("down1", "down2"),
        ("down1", "down2", "low"),
        ("down1", "up2"),
    ]


def test_a_table_for_all_images_crosses_once_for_each_and_nothing_is_kept_for_it():
    net = wrap(draw(toys.SharedTable), ["patch", "layers.1.out"], input_shape=SHAPE)
    assert net.state_names(1) == ("patch",)
    assert net.state_names(2) == ("table", "add_1", "layers_1_out")
    assert {spec.name: spec.shape for spec in net.state_spec(2, SHAPE)}["table"] == (2, 16, 16)


def test_names_in_the_state_dict_are_the_modules_own_behind_block_and_node():
    module = draw(toys.ViT)
    net = wrap(module, ["layers.0", "layers.2"], input_shape=SHAPE)
    own = {
        name for name in net.state_dict() if not name.startswith("heads.0") and not name.startswith("heads.1")
    }
    ends = {name.split(".", 3)[-1] for name in own}
    assert ends == set(module.state_dict())
    assert "blocks.0.layers_0.pos" in own
    assert "blocks.1.layers_2.layers.1.attention.qkv.weight" in own


def test_a_wrapped_net_is_rebuilt_from_its_state_dict():
    one, other = (wrap(build(), ["layers.1"], input_shape=SHAPE).eval() for build in (toys.ViT, toys.ViT))
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, *SHAPE)
    assert all(torch.equal(a, b) for (a,), (b,) in zip(one(x), other(x), strict=True))


def test_a_size_that_the_module_or_what_lies_between_its_parts_holds_for_alone_is_fixed():
    assert wrap(draw(toys.ViT), ["layers.0"], input_shape=SHAPE).input_spec.fixed == (8, 8)
    assert wrap(draw(toys.UNet), ["low"], input_shape=SHAPE).input_spec.fixed is None


def test_heads_read_channels_first_where_the_module_has_them_last():
    seen = []

    def head(shape):
        seen.append(shape)
        return nn.Sequential(nn.Conv2d(shape[0], 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    net = wrap(draw(toys.Windows), ["layers.0", "layers.1"], head, input_shape=(3, 8, 16))
    assert seen == [(6, 4, 8)] * 2
    assert [spec.shape for spec in net.state_spec(1, (3, 8, 16))] == [(4, 8, 6)]


@pytest.mark.parametrize(
    ("taps", "message"),
    [(["again"], "again ran 3 times"), (["between"], r"again runs with weights .* it can at (stem|after)")],
)
def test_a_tap_among_the_runs_of_one_layer_is_refused_with_the_next_that_works(taps, message):
    with pytest.raises(ValueError, match=message):
        wrap(draw(toys.Recurrent), taps, input_shape=SHAPE)


class Hidden(toys.UNet):
    """Something random that only shows in training, and is no operator that knows the mode."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (torch.rand(1) if self.training else 0)


def test_what_shows_in_training_alone_is_refused_and_frozen_it_is_not_in_the_way():
    module = draw(Hidden)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(ValueError, match="in training mode the module gives something else"):
        wrap(module, ["low"], input_shape=SHAPE)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert wrap(module, ["low"], input_shape=SHAPE, frozen=True).num_stages == 2


class Auxiliary(toys.ByFunction):
    """A second answer, with dropout of its own, in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Any:
        if not self.training:
            return super().forward(x)
        early = nn.functional.dropout(self.stem(x).mean((2, 3)), 0.5, True)
        return {"second": self.second(early), "logits": super().forward(x)}


def test_a_second_answer_in_training_alone_is_not_in_the_way():
    net = wrap(draw(Auxiliary), ["stem", "layer1"], input_shape=SHAPE)
    assert not any("second" in name for name in net.state_dict())


def test_norms_fold_into_the_convolutions_they_alone_read_wherever_these_lie():
    module = draw(toys.UNet)
    for norm in (part for part in module.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    net = wrap(module, ["down2", "up2"], input_shape=SHAPE).eval()
    folded = net.snapshot().prepare().segment(0, 3, last=True)
    x = torch.randn(2, *SHAPE)
    assert sum(isinstance(part, nn.BatchNorm2d) for part in folded.modules()) == 0
    torch.testing.assert_close(folded((x,))[0], net(x)[-1][0], rtol=1e-4, atol=1e-5)

    class Inside(nn.Module):
        """Only the graph tells which norm reads a convolution, and that another's output is read twice."""

        def __init__(self) -> None:
            super().__init__()
            self.b, self.a = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)
            self.d, self.c = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.c(self.b(self.a(x)))
            z: Tensor = y + self.d(y)
            return z

    whole = nn.Sequential(Inside(), Inside(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    net = wrap(whole, ["0"], input_shape=SHAPE).eval()
    folded = net.snapshot().prepare().segment(0, 2, last=True)
    left = [name for name, part in folded.named_modules() if isinstance(part, nn.BatchNorm2d)]
    assert [name.rpartition(".")[2] for name in left] == ["d", "d"]
    torch.testing.assert_close(folded((x,))[0], net(x)[-1][0], rtol=1e-4, atol=1e-5)


class Common(toys.UNet):
    """One layer that two sub-modules have."""

    def __init__(self) -> None:
        super().__init__()
        self.down1.append(nn.Sequential(layer := nn.Conv2d(4, 4, 1), nn.Sequential(layer)))


def test_a_layer_that_is_there_under_two_names_stays_as_it_is():
    module = draw(Common).eval()
    before = {id(weight): weight.clone() for weight in module.parameters()}
    net = wrap(module, ["down1", "low"], input_shape=SHAPE).eval()
    assert {id(weight) for weight in module.parameters()} == before.keys()
    assert all(torch.equal(before[id(weight)], weight) for weight in module.parameters())
    x = torch.randn(2, *SHAPE)
    assert torch.equal(net(x)[-1][0], module(x))


def test_such_a_layer_is_exported_once_and_stays_as_it_is():
    net = wrap(draw(Common), ["down1", "low"], input_shape=SHAPE)
    segment, spec = net.snapshot().segment(0, 1), segment_specs(net, SHAPE)[0]
    before = {name: weight.clone() for name, weight in segment.state_dict().items()}
    names = [same[0] for same in tensor_names(segment)]
    assert len(names) < len(before)
    program_of(segment, spec, names)
    assert all(torch.equal(before[name], weight) for name, weight in segment.state_dict().items())


class Table(toys.ByFunction):
    """Holds numbers that its state_dict leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem.table = nn.Buffer(torch.rand(4), persistent=False)
        self.table = nn.Buffer(torch.rand(4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.table[:3].view(3, 1, 1))


def test_buffers_that_a_state_dict_leaves_out_are_saved_with_the_net():
    net = wrap(draw(Table), ["stem"], input_shape=SHAPE)
    names = [name for name in net.state_dict() if "table" in name]
    assert names == ["blocks.0.stem.table", "blocks.0.stem.stem.table"]
    refused = draw(Table)
    with pytest.raises(ValueError, match="leave it out"):
        wrap(refused, ["fc"], input_shape=SHAPE)
    assert "stem.table" not in refused.state_dict()


class Small(toys.UNet):
    """Cannot run in training mode on small images."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            nn.functional.avg_pool2d(x, 16)
        return super().forward(x)


def test_a_module_that_cannot_be_trained_on_such_images_is_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"in training mode .* larger input_shape, or frozen=True"):
        wrap(draw(Small), ["low"], input_shape=SHAPE)


def test_no_hook_stays_in_the_module():
    module = draw(toys.ViT)
    wrap(module, ["layers.1"], input_shape=SHAPE)
    with pytest.raises(ValueError, match="leave it out"):
        wrap(module, ["head"], input_shape=SHAPE)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_frozen_module_with_operators_between_its_parts_stays_as_it_is():
    module = draw(toys.ByFunction)
    net = wrap(module, ["stem", "layer1"], input_shape=SHAPE, frozen=True).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    x = torch.randn(6, *SHAPE)
    outputs = net(x)
    sum(logits.square().sum() for (logits,) in outputs[:-1]).backward()
    assert torch.equal(outputs[-1][0], module.eval()(x))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None} == {"heads"}


def test_a_frozen_module_is_in_eval_mode_from_the_start():
    module = draw(toys.ByFunction).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    net = wrap(module, ["stem", "layer1"], input_shape=SHAPE, frozen=True)
    net(torch.randn(6, *SHAPE))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


class NormedAlone(toys.ByFunction):
    """Each image is normalised alone, in evaluation as well; a constant of the code is overwritten."""

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.tensor([1.0, 2.0, 3.0])
        weights.mul_(2)
        return super().forward(nn.functional.instance_norm(x) * weights.view(3, 1, 1))


def test_norms_of_each_image_stay_and_constants_are_the_same_in_every_pass():
    module = draw(NormedAlone).eval()
    net = wrap(module, ["stem", "layer1"], input_shape=SHAPE).eval()
    assert net.input_spec.fixed is None
    x = torch.randn(3, *SHAPE)
    for _ in range(3):
        torch.testing.assert_close(net(x)[-1][0], module(x))


class Follows(toys.ByFunction):
    """Follows a mean in training, and uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.usual = nn.Buffer(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x - self.usual.view(3, 1, 1))
        if self.training:
            self.usual.lerp_(x.mean((0, 2, 3)), 0.01)
        return y


def test_a_buffer_that_would_no_longer_be_learnt_is_refused_and_frozen_it_is_not_in_the_way():
    module = draw(Follows)
    with pytest.raises(ValueError, match="in training mode the module's forward changes usual"):
        wrap(module, ["stem"], input_shape=SHAPE)
    assert not module.usual.any()
    assert wrap(module, ["stem"], input_shape=SHAPE, frozen=True).num_stages == 2


class SkipsLayers(toys.ViT):
    """Leaves a layer out in training, now and then; never with the first numbers of seed 0."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        for layer in self.layers:
            if not (self.training and torch.rand([]) < 0.05):
                x = layer(x)
        y: Tensor = self.head(self.norm(x)[:, 0])
        return y


def test_layers_that_are_left_out_by_luck_are_refused_though_none_is_at_the_first_try():
    torch.manual_seed(0)
    assert torch.rand(4).min() > 0.05
    with pytest.raises(ValueError, match="in training mode the module gives something else"):
        wrap(draw(SkipsLayers), ["layers.0"], input_shape=SHAPE)


class OneAlone(toys.UNet):
    """Treats one image alone otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.shape[0] > 1 else 2 * x)


def test_a_forward_that_treats_one_image_alone_otherwise_is_refused():
    with pytest.raises(ValueError, match="for one image alone the module's forward does something else"):
        wrap(draw(OneAlone), ["low"], input_shape=SHAPE)
