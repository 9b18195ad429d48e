"""What the sliced ResNeXts promise beyond the contract: the invariants that their papers rest on."""

from __future__ import annotations

import copy
import math
from itertools import accumulate

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.layers.transitions import append_zeros
from anytimenet.nets import create_net, register_net
from anytimenet.nets.arguments import even_slices, split_like
from anytimenet.nets.slices.blocks import SlicedBlock
from anytimenet.nets.slices.isresnext import ISResNeXt
from anytimenet.nets.width.branch_blocks import BranchBlock
from anytimenet.nets.width.iresnext import IResNeXt
from anytimenet.testing.net_under_test import redraw

SHAPE = (3, 8, 8)
MODES = pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])


def random_net(net, seed=0):
    """`net` in float64 with random weights and statistics."""
    redraw(net.double(), torch.Generator().manual_seed(seed))
    return net


def images(count=4, shape=SHAPE, seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_close(got, truth):
    torch.testing.assert_close(got, truth, rtol=1e-9, atol=1e-9)


def statistics(net):
    return {name: buffer for name, buffer in net.named_buffers() if "running" in name}


# --- IS-ResNeXt ---------------------------------------------------------------------------------------------

SLICED = pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"slices": (1, 2, 1, 3), "width": 14, "blocks": (2, 1)},
        {"slices": (2, 1, 1), "width": 8, "exits_after": (2, 3), "stem_bn": True},
        {"stem": "imagenet", "blocks": (1, 1)},
        {
            "slices": (1, 1, 2, 1),
            "width": 10,
            "blocks": (3, 3),
            "block_slices": ((1, 2), (3, 4), (2, 2), (4, 4), None, (1, 4)),
        },
    ],
    ids=["even", "uneven", "exits", "imagenet", "ranges"],
)


def sliced(arguments):
    return random_net(create_net("isresnext_tiny", num_classes=(4, 2), **arguments))


class SliceBySlice:
    """IS-ResNeXt as methods.md 2.5 runs it: one slice after the other, each on the inputs that earlier ones
    left at every block. Written without the net's own forward; updates the net's running statistics in
    training mode.
    """

    def __init__(self, net: ISResNeXt, x: Tensor, training: bool) -> None:
        self.net, self.x, self.training = net, x, training
        self.inputs: list[list[Tensor]] = [[] for _ in net.blocks]
        self.features: list[Tensor] = []

    def norm(self, norm: nn.BatchNorm2d, borders: list[int], j: int, h: Tensor) -> Tensor:
        lo, hi = ([0, *borders])[j], borders[j]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, var = norm.running_mean[lo:hi], norm.running_var[lo:hi]
        weight, bias = norm.weight[lo:hi], norm.bias[lo:hi]
        return F.relu(F.batch_norm(h, mean, var, weight, bias, self.training, 0.1, norm.eps))

    def run_slice(self, j: int) -> None:
        net = self.net
        borders = list(accumulate(net.slice_widths))
        conv = net.stem.conv
        weight = conv.weight[([0, *borders])[j] : borders[j]]
        y = F.conv2d(self.x, weight, stride=conv.stride, padding=conv.padding)
        if net.stem.norm is not None:
            y = self.norm(net.stem.norm, borders, j, y)
        if net.stem.form == "imagenet":
            y = F.max_pool2d(y, 2)
        starts = list(accumulate(net.blocks_per_scale))[:-1]
        for i, block in enumerate(net.blocks):
            if i in starts:
                y = append_zeros(y)
            if not isinstance(block, SlicedBlock) or j >= block.last:
                continue
            self.inputs[i].append(self.norm(block.norm1, list(accumulate(block.widths)), j, y))
            row = j + 1 - block.first
            if row < 0:
                continue
            middle = list(accumulate(block.branches))
            h = F.conv2d(torch.cat(self.inputs[i], 1), block.conv1.rows[row])
            weight = block.conv2.weight[([0, *middle])[row] : middle[row]]
            h = F.conv2d(self.norm(block.norm2, middle, row, h), weight, padding=1, groups=net.slices[j])
            y = y + F.conv2d(self.norm(block.norm3, middle, row, h), block.conv3.blocks[row])
        self.features.append(y)

    def outputs(self) -> list[tuple[Tensor, ...]]:
        found: list[tuple[Tensor, ...]] = []
        for j in range(len(self.net.slices)):
            self.run_slice(j)
            if j + 1 in self.net.exits_after:
                head = self.net.heads[len(found)]
                found.append(head(torch.cat(self.features, 1)))
        return found


@SLICED
@MODES
def test_one_pass_equals_running_slice_after_slice(arguments, training):
    net = sliced(arguments).train(training)
    reference = copy.deepcopy(net)
    with torch.no_grad():
        outputs, truth = net(images()), SliceBySlice(reference, images(), training).outputs()
    assert_close(outputs, truth)
    assert_close(statistics(net), statistics(reference))


@SLICED
@MODES
def test_a_prefix_equals_the_thin_net_alone(arguments, training):
    """Outputs, running statistics and, for a loss on those stages, gradients."""
    for stop in range(1, sliced(arguments).num_stages + 1):
        full = sliced(arguments).train(training)
        thin = full.keep(range(1, stop + 1))
        outputs, prefix = thin(images()), full(images())[:stop]
        assert_close(outputs, prefix)
        for net_outputs in (outputs, prefix):
            sum((logits**2).sum() for output in net_outputs for logits in output).backward()
        for name, buffer in statistics(thin).items():
            whole = statistics(full)[name]
            assert_close(buffer, whole[: len(buffer)])
        parameters = dict(full.named_parameters())
        for name, parameter in thin.named_parameters():
            grad = parameters[name].grad
            assert_close(parameter.grad, grad[tuple(slice(size) for size in parameter.shape)])


@SLICED
@MODES
def test_segments_equal_the_pass_in_float32(arguments, training):
    """Also the segments of a net in training mode: they are snapshots of its eval mode."""
    net = sliced(arguments).float().train(training)
    x = images().float()
    state = (x,)
    segments = [net.segment(stage - 1, stage) for stage in range(1, net.num_stages + 1)]
    with torch.no_grad():
        truth = net.eval()(x)
        for segment, expected in zip(segments, truth, strict=True):
            state, output = segment(state)
            for got, logits in zip(output, expected, strict=True):
                assert (got - logits).abs().max() <= 1e-5 * logits.abs().max()


@SLICED
@MODES
def test_the_loss_of_a_stage_does_not_reach_later_slices(arguments, training):
    net = sliced(arguments).train(training)
    for stage, stop in enumerate(net.exits_after, 1):
        net.zero_grad()
        sum((logits**2).sum() for logits in net(images())[stage - 1]).backward()
        for block in net.blocks:
            if not isinstance(block, SlicedBlock):
                continue
            pieces = zip(block.conv1.rows, block.conv3.blocks, strict=True)
            for j, (row, piece) in enumerate(pieces, block.first):
                assert _reached(row.grad) == _reached(piece.grad) == (j <= stop)
            runs = stop >= block.first
            border = sum(block.widths[: stop if runs else 0])
            assert not _reached(block.norm1.weight.grad[border:])
            middle = sum(block.branches[: stop - block.first + 1]) if runs else 0
            for layer in (block.norm2, block.norm3, block.conv2):
                assert _reached(layer.weight.grad[:middle]) == runs
                assert not _reached(layer.weight.grad[middle:])
        border = sum(net.slice_widths[:stop])
        assert _reached(net.stem.conv.weight.grad[:border])
        assert not _reached(net.stem.conv.weight.grad[border:])
        assert [_reached(head.levels[0].fc.weight.grad) for head in net.heads].index(True) == stage - 1


def test_zero_channels_of_a_transition_stay_inside_their_slice():
    net = sliced({"blocks": (1, 1)})
    entered = []
    net.blocks[1].register_forward_pre_hook(lambda module, arguments: entered.append(arguments[0]))
    net(images())
    for piece in entered[0].split(net.blocks[1].widths, dim=1):
        half = piece.shape[1] // 2
        assert (piece[:, half:] == 0).all()
        assert (piece[:, :half] != 0).any()


def _reached(grad: Tensor | None) -> bool:
    return grad is not None and bool(grad.any())


# --- I-ResNeXt ----------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("normalisation", ["own", "shared"])


def branched(normalisation="own", branches=(1, 3, 4)):
    return random_net(
        create_net("iresnext_tiny", num_classes=(4, 2), branches=branches, normalisation=normalisation)
    )


def padded_forward(net: IResNeXt, x: Tensor, stage: int) -> tuple[Tensor, ...]:
    """Stage k as the authors' code runs it: zeros up to all branches, then the whole third convolution."""
    count = net.branches[stage - 1]
    x = net.stem(x)
    starts = list(accumulate(net.blocks_per_scale))[:-1]
    for i, block in enumerate(net.blocks):
        if i in starts:
            x = append_zeros(x)
        assert isinstance(block, BranchBlock)
        norms, middle = block.norms_of(stage), count * block.branch_width
        h = F.conv2d(F.relu(norms.norm1(x)), block.conv1.weight[:middle])
        h = F.conv2d(F.relu(norms.norm2(h)), block.conv2.weight[:middle], padding=1, groups=count)
        h = F.relu(norms.norm3(h))
        x = x + block.conv3(F.pad(h, (0, 0, 0, 0, 0, block.conv3.in_channels - middle)))
    output: tuple[Tensor, ...] = net.heads[stage - 1](x)
    return output


@BOTH
@MODES
def test_column_slicing_equals_zero_padding(normalisation, training):
    net = branched(normalisation).train(training)
    reference = copy.deepcopy(net)
    for stage in (1, 2, 3):
        (output,) = net(images(), (stage,))
        truth = padded_forward(reference, images(), stage)
        assert_close(output, truth)
        for result in (output, truth):
            sum((logits**2).sum() for logits in result).backward()
    assert_close(statistics(net), statistics(reference))
    for parameter, truth in zip(net.parameters(), reference.parameters(), strict=True):
        assert_close(parameter.grad, truth.grad)


@MODES
def test_another_stages_norms_never_change_a_stage(training):
    for other in (1, 2, 3):
        net = branched().train(training)
        before = net(images())
        for block in net.blocks:
            redraw(block.norms[other - 1], torch.Generator().manual_seed(9))
        for stage, (output, old) in enumerate(zip(net(images()), before, strict=True), 1):
            equal = [torch.equal(a, b) for a, b in zip(output, old, strict=True)]
            assert equal == [stage != other] * 2


@BOTH
def test_a_backward_for_each_stage_equals_one_of_the_sum(normalisation):
    def loss(output):
        return sum((logits**2).sum() for logits in output)

    at_once, one_by_one, passes = (branched(normalisation).train() for _ in range(3))
    sum(loss(output) for output in at_once(images())).backward()
    for stage in (1, 2, 3):
        loss(one_by_one(images(), (stage,))[0]).backward()
    for group in passes.passes(images()):
        sum(loss(output) for _, output in group).backward()
    truth = {name: parameter.grad for name, parameter in at_once.named_parameters()}
    for net in (one_by_one, passes):
        assert_close({name: parameter.grad for name, parameter in net.named_parameters()}, truth)
        assert_close(statistics(net), statistics(at_once))


def test_passes_come_one_stage_at_a_time_in_the_order_asked_for():
    net = branched().eval()
    with torch.no_grad():
        groups = [[stage for stage, _ in group] for group in net.passes(images(), (3, 1, 2))]
    assert groups == [[3], [1], [2]]


def test_a_pass_without_backward_is_refused():
    passes = branched().train().passes(images())
    next(passes)
    with pytest.raises(RuntimeError, match="stage 1 had no backward: call backward on each group"):
        next(passes)


def test_shared_statistics_move_in_every_pass():
    """All stages see the same stem, so the first norm moves K times towards one batch mean."""
    net = branched("shared").train()
    norm = net.blocks[0].norms[0].norm1
    before = norm.running_mean.clone()
    with torch.no_grad():
        batch_mean = net.stem(images()).mean((0, 2, 3))
        net(images())
    kept = (1 - norm.momentum) ** 3
    assert_close(norm.running_mean, kept * before + (1 - kept) * batch_mean)
    assert {int(buffer) for name, buffer in net.blocks.named_buffers() if "num_batches" in name} == {3}


def test_own_statistics_belong_to_a_stage():
    net = branched("own").train()
    before = {name: buffer.clone() for name, buffer in statistics(net).items()}
    net(images(), (2,))
    for name, buffer in statistics(net).items():
        mine = ".norms.1." in name or name.startswith("heads.1.")
        assert torch.equal(buffer, before[name]) != mine, name


def test_the_state_is_the_stems_output():
    net = branched().eval()
    with torch.no_grad():
        (state, _), stem = net.segment(0, 2)((images(),)), net.stem(images())
    assert_close(state, (stem,))


# --- initialisation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("init", "grouped"), [("msra", True), ("msra_ungrouped", False)])
def test_msra_scales_with_the_fan_out(init, grouped):
    torch.manual_seed(0)
    net = ISResNeXt((10,), slices=(8, 8), width=128, branch_width=8, blocks=(1,), init=init)
    block = net.blocks[0]
    groups = 16 if grouped else 1
    expected = {
        block.conv2.weight: math.sqrt(2 / (9 * 128 / groups)),
        net.stem.conv.weight: math.sqrt(2 / (9 * 128)),
        block.conv1.rows[1]: math.sqrt(2 / 128),
        block.conv3.blocks[0]: math.sqrt(2 / (64 if grouped else 128)),
    }
    for weight, std in expected.items():
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.05)
        assert abs(float(weight.detach().mean())) < 0.1 * std
    assert not net.heads[0].levels[0].fc.bias.any()


def test_pytorch_initialisation_is_that_of_pytorchs_layers():
    torch.manual_seed(0)
    net = ISResNeXt((10,), slices=(8, 8), width=128, branch_width=8, blocks=(1,), init="pytorch")
    for weight in (net.blocks[0].conv2.weight, net.blocks[0].conv1.rows[1], net.blocks[0].conv3.blocks[1]):
        bound = 1 / math.sqrt(weight[0].numel())  # kaiming_uniform_ with a = sqrt(5)
        assert weight.abs().max() <= bound
        assert float(weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert net.heads[0].levels[0].fc.bias.any()


# --- what cannot be built says why --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("isresnext_47", {"width": 100}, r"100 trunk channels .* nearest width that can is 102"),
        ("isresnext_47", {"width": 0}, r"0 trunk channels .* nearest width that can is 6"),
        ("isresnext_tiny", {"slices": (1, 2, 2)}, r"12 trunk channels .* nearest width that can is 10"),
        ("isresnext_tiny", {"slices": ()}, "at least one slice of one branch or more is needed"),
        ("isresnext_tiny", {"slices": (1, 0)}, "at least one slice of one branch or more is needed"),
        ("isresnext_tiny", {"exits_after": (1, 2)}, r"increasing numbers from 1 to 3 .* the last of them 3"),
        ("isresnext_tiny", {"exits_after": ()}, "increasing numbers from 1 to 3"),
        ("isresnext_tiny", {"exits_after": (2, 1, 3)}, "increasing numbers from 1 to 3"),
        ("isresnext_tiny", {"exits_after": (0, 3)}, "increasing numbers from 1 to 3"),
        ("isresnext_tiny", {"exits_after": (1, 4)}, "increasing numbers from 1 to 3"),
        ("isresnext_tiny", {"stem": "cifr"}, "stem 'cifr' does not exist: 'cifar' or 'imagenet' is needed"),
        ("isresnext_tiny", {"branch_width": 0}, "branch_width"),
        (
            "isresnext_tiny",
            {"block_slices": [[1, 3]] * 2},
            r"are 3 blocks, a range \(first, last\)",
        ),
        ("isresnext_tiny", {"block_slices": 3}, r"a range \(first, last\) of slices is needed for each"),
        ("isresnext_tiny", {"block_slices": [[1, 3], 2, None]}, "block_slices 2: a list of whole numbers"),
        ("isresnext_tiny", {"block_slices": [[1, 3], [2], None]}, r"block 2 has \(2,\); the first and the"),
        (
            "isresnext_tiny",
            {"block_slices": [[1, 3], [2, 3], [0, 4]]},
            r"block 3 cannot write slices 0 to 4 of 1 to 3; the nearest range that works is \(1, 3\)",
        ),
        ("isresnext_tiny", {"block_slices": [[3, 2], [1, 2], None]}, r"nearest .* works is \(3, 3\)"),
        ("isresnext_tiny", {"block_slices": [[1, 1], [3, 3], None]}, "no block writes slice 2; widen the"),
        ("isresnext_tiny", {"in_channels": 0}, "in_channels"),
        ("isresnext_tiny", {"init": "msr"}, "no initialisation is named 'msr': did you mean 'msra'"),
        ("iresnext_tiny", {"branches": (1, 1)}, r"branches \(1, 1\): .* increasing, for example \(1, 2, 4\)"),
        ("iresnext_tiny", {"branches": ()}, "increasing, for example"),
        ("iresnext_tiny", {"branches": (0, 1)}, "increasing, for example"),
        ("iresnext_tiny", {"branch_width": 0}, "branch_width 0 must be at least 1"),
        ("iresnext_tiny", {"normalisation": "none"}, "'none' does not exist: 'own' or 'shared' is needed"),
        ("iresnext_tiny", {"blocks": ()}, "1 or more, is needed"),
        ("resnext_tiny", {"blocks": (1, 0)}, "1 or more, is needed"),
        ("isresnet_47", {}, "no net is named 'isresnet_47': did you mean 'isresnext_47'"),
        ("alexnet", {}, "no net is named 'alexnet': known are: .*isresnext_47"),
        (
            "isresnext_tiny",
            {"slice": (1, 1)},
            "isresnext_tiny has no argument 'slice': did you mean 'slices'",
        ),
        ("isresnext_tiny", {"num_classes": 0}, "num_classes must be a number, or one for each"),
        ("isresnext_tiny", {"num_classes": ()}, "a number, or one for each label level"),
    ],
)
def test_a_net_that_cannot_be_built_says_why(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        create_net(name, **arguments)


def test_branches_that_slices_do_not_divide_name_the_nearest_number():
    with pytest.raises(ValueError, match=r"18 branches .* 5 equal slices; the nearest number .* is 6"):
        even_slices(18, 5)
    with pytest.raises(ValueError, match="nearest number of slices that can is 1"):
        even_slices(18, 0)
    assert even_slices(18, 6) == (3,) * 6


def test_a_width_is_divided_like_the_slices():
    assert split_like(14, (1, 2, 1, 3)) == (2, 4, 2, 6)


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny", "resnext_tiny", "resnet_tiny"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 8, 8), r"reads 3-channel images, got 1 channels; build it with in_channels=1 or convert"),
        ((2, 3, 3, 8), r"images of 3x8 are too small .* at least 4x4 is needed"),
        ((3, 8, 8), r"images have shape \(N, C, H, W\), not \(3, 8, 8\)"),
        ((8, 8), r"images have shape \(N, C, H, W\), not \(8, 8\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, shape, message):
    net = create_net(name).eval()
    with pytest.raises(ValueError, match=message):
        net(torch.zeros(shape))
    with pytest.raises(ValueError, match=message):
        next(iter(net.passes(torch.zeros(shape))))


def test_the_imagenet_stem_needs_larger_images():
    with pytest.raises(ValueError, match="at least 32x32 is needed"):
        create_net("isresnext_62_imagenet", slices=(1, 1), width=4)(torch.zeros(1, 3, 31, 31))


def test_a_taken_name_is_refused():
    with pytest.raises(ValueError, match="'isresnext_47' is registered already; choose another name"):
        register_net("isresnext_47", input_shape=SHAPE, summary="another")(lambda num_classes: None)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("isresnext_tiny", "slices"),
        ("isresnext_tiny", "exits_after"),
        ("isresnext_tiny", "blocks"),
        ("iresnext_tiny", "branches"),
        ("resnet_tiny", "blocks"),
    ],
)
def test_a_number_in_place_of_a_list_is_refused(name, argument):
    with pytest.raises(ValueError, match=f"{argument} 3: a list of whole numbers"):
        create_net(name, **{argument: 3})


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny", "resnet_tiny"])
@pytest.mark.parametrize("stage", [-1, 9])
def test_a_state_that_does_not_exist_is_refused(name, stage):
    with pytest.raises(ValueError, match=f"no state belongs to stage {stage}"):
        create_net(name).state_spec(stage, (3, 8, 8))


def test_building_on_the_meta_device_draws_nothing():
    before = torch.get_rng_state()
    with torch.device("meta"):
        create_net("isresnext_tiny")
    assert torch.equal(torch.get_rng_state(), before)
