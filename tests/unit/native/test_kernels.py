"""Each operator of the engine against PyTorch, on random shapes, for each instruction set of this machine."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.native.programs import CLASSES, SmallProgram

from anytimenet.export.native_program import COUNT_BORDER, Code, Kind, Norm, Op, View, Window
from anytimenet.native import library

if not library.is_there():
    pytest.skip("no engine", allow_module_level=True)

SETS = library.instruction_sets()
sides = st.integers(1, 37)
seeds = st.integers(0, 2**31)
EVERY = examples(30)


def near(found: np.ndarray, wanted: torch.Tensor) -> None:
    truth = wanted.numpy()
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() <= 2e-5 * max(1.0, float(np.abs(truth).max()))


def normal(draw: np.random.Generator, *shape: int) -> np.ndarray:
    return draw.standard_normal(shape).astype(np.float32)


def norm_of(
    program: SmallProgram, draw: np.random.Generator, channels: int
) -> tuple[Norm, list[torch.Tensor]]:
    values = [normal(draw, channels) for _ in range(3)] + [draw.uniform(0.5, 2, channels).astype(np.float32)]
    gamma, beta, mean, variance = map(program.weight, values)
    norm = Norm(gamma, beta, mean, variance, 1e-3)
    return norm, [torch.from_numpy(value) for value in values]


def normed(x: torch.Tensor, norm: list[torch.Tensor]) -> torch.Tensor:
    gamma, beta, mean, variance = norm
    return F.batch_norm(x[None], mean, variance, gamma, beta, eps=1e-3)[0]


@st.composite
def windows(draw, height: int, width: int) -> Window:
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    pads = [draw(st.integers(0, 3)) for _ in range(4)]
    if height + pads[0] + pads[2] < kernel[0]:
        kernel = (1, kernel[1])
    if width + pads[1] + pads[3] < kernel[1]:
        kernel = (kernel[0], 1)
    return Window(*kernel, draw(st.integers(1, 3)), draw(st.integers(1, 3)), *pads)


@EVERY
@given(data=st.data(), height=sides, width=sides, seed=seeds)
@pytest.mark.parametrize("isa", SETS)
def test_convolutions_in_groups_of_any_size(isa, data, height, width, seed):
    draw = np.random.default_rng(seed)
    groups = data.draw(st.sampled_from([1, 2, 3, 5]))
    group_in, group_out = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 17))
    if data.draw(st.booleans()):
        groups, group_in, group_out = data.draw(st.integers(2, 19)), 1, 1
    window = data.draw(windows(height, width))
    program = SmallProgram((groups * group_in, height, width))
    x = normal(draw, groups * group_in, height, width)
    weight = normal(draw, groups * group_out, group_in, window.height, window.width)
    bias = normal(draw, groups * group_out)
    norm, vectors = norm_of(program, draw, groups * group_out)
    framed = F.pad(torch.from_numpy(x), (window.left, window.right, window.top, window.bottom))
    strides = window.stride_y, window.stride_x
    wanted = F.conv2d(framed[None], torch.from_numpy(weight), torch.from_numpy(bias), strides, groups=groups)[
        0
    ]
    wanted = normed(wanted, vectors).clamp(-0.5, 6)
    out = program.tensor(Kind.KEPT, *wanted.shape)
    program.body = [
        Op(
            Code.CONV, out, program.x, None, window, groups, program.weight(weight), program.weight(bias),
            norm, -0.5, 6.0,
        )
    ]  # fmt: skip
    near(program.results(x, isa)[0], wanted)


@EVERY
@given(data=st.data(), height=sides, width=sides, seed=seeds)
@pytest.mark.parametrize("isa", SETS)
def test_products_over_a_prefix_add_to_a_residual_and_feed_a_convolution(isa, data, height, width, seed):
    """1x1 on the first channels, 3x3 to 7x7 that reads its image, and 1x1 that is added where x was."""
    draw = np.random.default_rng(seed)
    channels, middle = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 30))
    prefix, begin = data.draw(st.integers(1, channels)), data.draw(st.integers(0, 3))
    program = SmallProgram((channels, height, width))
    x = normal(draw, channels, height, width)
    down, up = normal(draw, middle, prefix, 1, 1), normal(draw, channels, middle, 1, 1)
    vectors = [norm_of(program, draw, middle) for _ in range(2)]
    trunk = program.tensor(Kind.SCRATCH, channels, height, width)
    inner = program.tensor(Kind.SCRATCH, middle, height, width)
    after = program.tensor(Kind.SCRATCH, middle, height, width)
    out = program.tensor(Kind.KEPT, channels + begin, height, width)
    edge = data.draw(st.integers(1, 3))
    side = 2 * edge + 1
    grouped = normal(draw, middle, 1, side, side)
    point, window = Window(1, 1, 1, 1), Window(side, side, 1, 1, edge, edge, edge, edge)
    program.body = [
        Op(Code.AFFINE, trunk, program.x, low=-1.0),
        Op(
            Code.CONV,
            inner,
            trunk.part(0, prefix),
            None,
            point,
            1,
            program.weight(down),
            -1,
            vectors[0][0],
            0.0,
        ),
        Op(Code.CONV, after, inner, None, window, middle, program.weight(grouped), -1, vectors[1][0], 0.0),
        Op(Code.CONV, out.part(begin, begin + channels), after, trunk, point, 1, program.weight(up)),
    ]
    if begin:
        program.body.append(Op(Code.ZERO, out.part(0, begin)))
    t = torch.from_numpy
    wide = t(x).clamp(min=-1)
    h = normed(F.conv2d(wide[None, :prefix], t(down))[0], vectors[0][1]).relu()
    h = normed(F.conv2d(h[None], t(grouped), padding=edge, groups=middle)[0], vectors[1][1]).relu()
    wanted = wide + F.conv2d(h[None], t(up))[0]
    near(program.results(x, isa)[0], F.pad(wanted, (0, 0, 0, 0, begin, 0)))


@EVERY
@given(data=st.data(), height=sides, width=sides, seed=seeds)
@pytest.mark.parametrize("isa", SETS)
def test_residual_blocks_one_after_the_other_share_memory(isa, data, height, width, seed):
    """BatchNorm and ReLU, 1x1, 3x3 and 1x1 that is added, several times: nothing but the last is kept."""
    draw = np.random.default_rng(seed)
    channels, middle = data.draw(st.integers(1, 24)), data.draw(st.integers(1, 40))
    point, window = Window(1, 1, 1, 1), Window(3, 3, 1, 1, 1, 1, 1, 1)
    program = SmallProgram((channels, height, width))
    x = normal(draw, channels, height, width)
    t, wanted, trunk = torch.from_numpy, torch.from_numpy(x), program.x
    blocks = data.draw(st.integers(1, 4))
    for block in range(blocks):
        norm, vectors = norm_of(program, draw, channels)
        down, own, up = (
            normal(draw, *shape) / 4
            for shape in ((middle, channels, 1, 1), (middle, 1, 3, 3), (channels, middle, 1, 1))
        )
        entering = program.tensor(Kind.SCRATCH, channels, height, width)
        inner, after = (program.tensor(Kind.SCRATCH, middle, height, width) for _ in range(2))
        out = program.tensor(Kind.KEPT if block == blocks - 1 else Kind.SCRATCH, channels, height, width)
        program.body += [
            Op(Code.AFFINE, entering, trunk, norm=norm, low=0.0),
            Op(Code.CONV, inner, entering, None, point, 1, program.weight(down), low=0.0),
            Op(Code.CONV, after, inner, None, window, middle, program.weight(own), low=0.0),
            Op(Code.CONV, out, after, trunk, point, 1, program.weight(up)),
        ]
        h = F.conv2d(normed(wanted, vectors).relu()[None], t(down)).relu()
        h = F.conv2d(h, t(own), padding=1, groups=middle).relu()
        wanted, trunk = wanted + F.conv2d(h, t(up))[0], out
    near(program.results(x, isa)[0], wanted)


@EVERY
@given(data=st.data(), height=sides, width=sides, seed=seeds)
@pytest.mark.parametrize("isa", SETS)
def test_a_convolution_writes_into_the_image_of_the_next_one(isa, data, height, width, seed):
    """A stem, a depthwise convolution of any stride, and one with the stem's window: this image or others."""
    draw = np.random.default_rng(seed)
    channels, side = data.draw(st.integers(1, 9)), data.draw(st.sampled_from([3, 5]))
    step, half = data.draw(st.integers(1, 2)), side // 2
    program, t = SmallProgram((3, height, width)), torch.from_numpy
    x = normal(draw, 3, height, width)
    stem, own = normal(draw, channels, 3, 3, 3), normal(draw, channels, 1, side, side)
    last = normal(draw, channels, channels, 3, 3)
    around, window = Window(3, 3, 1, 1, 1, 1, 1, 1), Window(side, side, step, step, half, half, half, half)
    first = F.conv2d(t(x)[None], t(stem), padding=1).relu()
    second = F.conv2d(first, t(own), None, step, half, groups=channels)
    wanted = F.conv2d(F.conv2d(second, t(last), padding=1).relu(), t(last), padding=1)[0]
    begun = program.tensor(Kind.SCRATCH, channels, height, width)
    after, more = (program.tensor(Kind.SCRATCH, *second.shape[1:]) for _ in range(2))
    out = program.tensor(Kind.KEPT, *wanted.shape)
    program.body = [
        Op(Code.CONV, begun, program.x, None, around, 1, program.weight(stem), low=0.0),
        Op(Code.CONV, after, begun, None, window, channels, program.weight(own)),
        Op(Code.CONV, more, after, None, around, 1, program.weight(last), low=0.0),
        Op(Code.CONV, out, more, None, around, 1, program.weight(last)),
    ]
    near(program.results(x, isa)[0], wanted)


@examples(3)
@given(data=st.data(), seed=seeds)
@pytest.mark.parametrize("isa", SETS)
def test_images_that_are_too_large_for_the_cache_go_channel_by_channel(isa, data, seed):
    draw = np.random.default_rng(seed)
    side, channels, step = (
        data.draw(st.integers(60, 75)),
        data.draw(st.integers(60, 90)),
        data.draw(st.integers(1, 2)),
    )
    program = SmallProgram((3, side, side))
    x, up = normal(draw, 3, side, side), normal(draw, channels, 3, 1, 1)
    own, down = normal(draw, channels, 1, 5, 5), normal(draw, 4, channels, 1, 1)
    bias, framed = normal(draw, channels), Window(5, 5, step, step, 1, 2, 2, 1)
    t, point = torch.from_numpy, Window(1, 1, 1, 1)
    first = F.conv2d(t(x)[None], t(up), t(bias)).clamp(0, 6)
    wanted = F.conv2d(F.pad(first, (2, 1, 1, 2)), t(own), t(bias), step, groups=channels).clamp(0, 6)
    begun, wide = (
        program.tensor(Kind.SCRATCH, 3, side, side),
        program.tensor(Kind.SCRATCH, channels, side, side),
    )
    after = program.tensor(Kind.SCRATCH, channels, *wanted.shape[2:])
    wanted = F.conv2d(wanted, t(down))[0]
    out = program.tensor(Kind.KEPT, *wanted.shape)
    shift = program.weight(bias)
    program.body = [
        Op(Code.AFFINE, begun, program.x),
        Op(Code.CONV, wide, begun, None, point, 1, program.weight(up), shift, None, 0.0, 6.0),
        Op(Code.CONV, after, wide, None, framed, channels, program.weight(own), shift, None, 0.0, 6.0),
        Op(Code.CONV, out, after, None, point, 1, program.weight(down)),
    ]
    near(program.results(x, isa)[0], wanted)


@EVERY
@given(data=st.data(), height=sides, width=sides, seed=seeds)
@pytest.mark.parametrize("isa", SETS)
def test_depthwise_convolutions_of_rows_of_any_length(isa, data, height, width, seed):
    draw = np.random.default_rng(seed)
    side, step, channels = (
        data.draw(st.sampled_from((3, 5))),
        data.draw(st.integers(1, 2)),
        data.draw(st.integers(2, 5)),
    )
    edge = side // 2
    program = SmallProgram((channels, height, width))
    x, own = normal(draw, channels, height, width), normal(draw, channels, 1, side, side)
    bias, window = normal(draw, channels), Window(side, side, step, step, edge, edge, edge, edge)
    convolved = F.conv2d(
        torch.from_numpy(x)[None], torch.from_numpy(own), torch.from_numpy(bias), step, edge, 1, channels
    )
    wanted = convolved.clamp(0, 6)[0]
    out = program.tensor(Kind.KEPT, *wanted.shape)
    weights = program.weight(own), program.weight(bias)
    program.body = [Op(Code.CONV, out, program.x, None, window, channels, *weights, None, 0.0, 6.0)]
    near(program.results(x, isa)[0], wanted)


LONG = {
    "product": ((40, 61, 50), 96, 1, Window(1, 1, 1, 1)),
    "product of few pixels": ((900, 7, 7), 300, 1, Window(1, 1, 1, 1)),
    "stem": ((3, 101, 90), 33, 1, Window(7, 7, 2, 2, 3, 3, 3, 3)),
    "groups": ((128, 30, 29), 128, 4, Window(3, 3, 1, 1, 1, 1, 1, 1)),
    "depthwise": ((70, 90, 90), 70, 70, Window(5, 5, 1, 1, 2, 2, 2, 2)),
}


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("isa", SETS)
def test_long_operators_are_stopped_within_and_can_be_finished(isa, kind):
    draw = np.random.default_rng(0)
    shape, channels, groups, window = LONG[kind]
    x, weight = (
        normal(draw, *shape),
        normal(draw, channels, shape[0] // groups, window.height, window.width),
    )
    weight /= np.sqrt(weight[0].size)
    t, edges = torch.from_numpy, (window.left, window.right, window.top, window.bottom)
    wanted = F.conv2d(F.pad(t(x)[None], edges), t(weight), None, window.stride_y, groups=groups)[0]
    program = SmallProgram(shape)
    out = program.tensor(Kind.KEPT, *wanted.shape)
    program.body = [Op(Code.CONV, out, program.x, None, window, groups, program.weight(weight))]
    session = program.engine(isa).session(poison=True)
    session.begin(x)
    session.cancel_after(2)  # once before the operator and once within it, of which there is one
    assert session.run(1).end == "cancelled"
    session.run(1)
    near(session.state()[1].reshape(wanted.shape), wanted)


@EVERY
@given(data=st.data(), height=sides, width=sides, seed=seeds)
@pytest.mark.parametrize("isa", SETS)
def test_pooling(isa, data, height, width, seed):
    draw = np.random.default_rng(seed)
    kernel = data.draw(st.integers(1, min(3, height, width)))
    stride = data.draw(st.integers(1, 3))
    pad = data.draw(st.integers(0, kernel // 2))
    largest, ceil, border = data.draw(st.booleans()), data.draw(st.booleans()), data.draw(st.booleans())
    x = normal(draw, 3, height, width)
    given = torch.from_numpy(x)[None]
    wanted = (
        F.max_pool2d(given, kernel, stride, pad, ceil_mode=ceil)
        if largest
        else F.avg_pool2d(given, kernel, stride, pad, ceil_mode=ceil, count_include_pad=border)
    )[0]
    program = SmallProgram((3, height, width))
    out = program.tensor(Kind.KEPT, *wanted.shape)
    window = Window(kernel, kernel, stride, stride, pad, pad, pad, pad)
    op = Op(Code.LARGEST_POOL if largest else Code.AVERAGE_POOL, out, program.x, window=window)
    op.flags |= COUNT_BORDER if border and not largest else 0
    program.body = [op]
    near(program.results(x, isa)[0], wanted)


@EVERY
@given(data=st.data(), height=sides, width=sides, seed=seeds)
@pytest.mark.parametrize("isa", SETS)
def test_sums_scales_and_zeros_side_by_side(isa, data, height, width, seed):
    draw = np.random.default_rng(seed)
    channels = data.draw(st.integers(2, 9))
    cut = data.draw(st.integers(1, channels - 1))
    program = SmallProgram((channels, height, width))
    x = normal(draw, channels, height, width)
    norm, vectors = norm_of(program, draw, channels)
    out = program.tensor(Kind.KEPT, 2 * channels, height, width)
    scaled = program.tensor(Kind.SCRATCH, channels, height, width)
    late = Norm(norm.gamma, norm.beta, norm.mean, norm.variance, norm.epsilon, cut)
    program.body = [
        Op(Code.AFFINE, scaled.part(0, cut), program.x.part(0, cut), norm=norm, low=0.0),
        Op(Code.AFFINE, scaled.part(cut, channels), program.x.part(cut, channels), norm=late, low=0.0),
        Op(Code.ADD, out.part(0, channels), scaled, program.x, high=1.5),
        Op(Code.ZERO, out.part(channels, 2 * channels)),
    ]
    wanted = (normed(torch.from_numpy(x), vectors).relu() + torch.from_numpy(x)).clamp(max=1.5)
    near(program.results(x, isa)[0], torch.cat([wanted, torch.zeros_like(wanted)]))


@EVERY
@given(data=st.data(), height=sides, width=sides, seed=seeds)
@pytest.mark.parametrize("isa", SETS)
def test_heads_pool_what_they_normalise(isa, data, height, width, seed):
    draw = np.random.default_rng(seed)
    channels = data.draw(st.integers(1, 40))
    program = SmallProgram((channels, height, width))
    x = normal(draw, channels, height, width)
    out = program.tensor(Kind.KEPT, channels, height, width)
    program.body = [Op(Code.AFFINE, out, program.x)]
    found = program.results(x, isa)
    near(found[0], torch.from_numpy(x))
    near(found[1], torch.from_numpy(x).mean((1, 2)).sum().repeat(CLASSES))


@pytest.mark.parametrize("isa", SETS)
def test_what_is_not_a_number_stays_so(isa):
    program = SmallProgram((2, 5, 5))
    x = np.ones((2, 5, 5), np.float32)
    x[0, 2, 2] = np.nan
    out = program.tensor(Kind.KEPT, 2, 5, 5)
    program.body = [Op(Code.AFFINE, out, program.x, low=0.0, high=inf)]
    found = program.results(x, isa)[0]
    assert np.array_equal(np.isnan(found), np.isnan(x))


def test_parts_of_a_view():
    view = View(1, 2, 5, 4, 4)
    assert view.part(1, 3) == View(1, 3, 2, 4, 4)
    assert view.part(2, 5).follows(view.part(0, 2))


@EVERY
@given(data=st.data(), height=sides, width=sides, seed=seeds)
@pytest.mark.parametrize("isa", SETS)
def test_what_is_no_number_stays_none_behind_a_clamp(isa, data, height, width, seed):
    """Of products and convolutions in groups, then of a product again."""
    draw = np.random.default_rng(seed)
    groups, each = data.draw(st.sampled_from([(1, 7), (1, 16), (2, 4), (5, 3), (9, 1), (16, 1)]))
    side, stride = data.draw(st.sampled_from([1, 3, 5])), data.draw(st.integers(1, 2))
    edge = side // 2
    channels = groups * each
    program = SmallProgram((channels, height, width))
    x = normal(draw, channels, height, width)
    x[tuple(draw.integers(0, size) for size in x.shape)] = np.nan
    first, second = normal(draw, channels, each, side, side), normal(draw, 11, channels, 1, 1)
    norm, vectors = norm_of(program, draw, channels)
    t, window = torch.from_numpy, Window(side, side, stride, stride, edge, edge, edge, edge)
    wanted = normed(
        F.conv2d(t(x)[None], t(first), stride=stride, padding=edge, groups=groups)[0], vectors
    ).clamp(0, 6)
    inner = program.tensor(Kind.SCRATCH, *wanted.shape)
    wanted = F.conv2d(wanted[None], t(second))[0].clamp(0, 6)
    out = program.tensor(Kind.KEPT, *wanted.shape)
    program.body = [
        Op(Code.CONV, inner, program.x, None, window, groups, program.weight(first), -1, norm, 0.0, 6.0),
        Op(Code.CONV, out, inner, None, Window(1, 1, 1, 1), 1, program.weight(second), -1, None, 0.0, 6.0),
    ]
    found = program.results(x, isa)[0]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted.numpy()))
