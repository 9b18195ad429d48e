"""The operation counter: closed forms, an independent counter, and refusal of what it does not know."""

import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anytimenet.core.errors import AnytimeNetError
from anytimenet.costs import OperationCount, UnknownOperatorError, count, stage_costs
from anytimenet.nets import EANN, AnytimeNet, create_net, list_nets, net_entry

X = torch.empty(2, 8, 6, 6, device="meta")
N = X.numel()


def _meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


# --- the rules ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "macs", "full", "msd"),
    [
        (lambda: nn.Conv2d(8, 4, 3, padding=1, bias=False), N // 2 * 72, N // 2 * 72, N // 2 * 72),
        # A convolution's bias is free in all three.
        (lambda: nn.Conv2d(8, 4, 1), N * 4, N * 4, N * 4),
        (lambda: nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4), N // 4 * 18, N // 4 * 18, N // 4 * 18),
        (lambda: nn.ConvTranspose2d(8, 4, 2, stride=2), N * 4 * 4, N * 4 * 4, N * 4 * 4),
        (lambda: nn.BatchNorm2d(8).eval(), 0, N, 0),
        (lambda: nn.BatchNorm2d(8).train(), 0, N, 0),  # its integer counter costs nothing
        (lambda: nn.GroupNorm(2, 8), 0, N, 0),
        (lambda: nn.LayerNorm(6), 0, N, 0),
        (lambda: nn.InstanceNorm2d(8), 0, N, 0),
        (lambda: nn.RMSNorm(6), 0, N, 0),
        (lambda: nn.ReLU(), 0, N, N),
        (lambda: nn.ReLU(inplace=True), 0, N, N),
        (lambda: nn.ReLU6(), 0, N, N),
        (lambda: nn.PReLU(), 0, N, N),
        (lambda: nn.SiLU(), 0, N, N),
        (lambda: nn.GELU(), 0, N, N),
        (lambda: nn.Softmax(1), 0, N, N),
        (lambda: nn.AvgPool2d(2), 0, N, N),
        (lambda: nn.AvgPool2d((2, 3)), 0, N, N),
        (lambda: nn.AvgPool2d(3, stride=1, padding=1), 0, 9 * N, 9 * N),
        (lambda: nn.MaxPool2d(2), 0, N, N),
        (lambda: nn.MaxPool2d(3, stride=3), 0, N, N),
        (lambda: nn.AdaptiveAvgPool2d(1), 0, N, N),
        (lambda: nn.AdaptiveMaxPool2d(1), 0, N, N),
        (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), 0, 16 * N, 0),
        (lambda: nn.Upsample(scale_factor=2), 0, 0, 0),
        (lambda: nn.Identity(), 0, 0, 0),
        (lambda: nn.Dropout(), 0, 0, 0),
        (lambda: nn.Flatten(), 0, 0, 0),
        (lambda: nn.ZeroPad2d(1), 0, 0, 0),
        (lambda: nn.PixelShuffle(2), 0, 0, 0),
    ],
)
def test_layers(layer: Callable[[], nn.Module], macs: int, full: int, msd: int) -> None:
    assert count(_meta(layer), X.clone()) == OperationCount(macs, full, msd)


@pytest.mark.parametrize(
    "move",
    [lambda x: x, lambda x: x.transpose(0, 1), lambda x: x[0, 0], lambda x: x[None].expand(3, -1, -1, -1)],
)
def test_a_linear_layer_counts_its_bias_once_whatever_the_layout(move: Callable[[Tensor], Tensor]) -> None:
    x = move(torch.empty(5, 7, 4, device="meta"))
    outputs = x.numel() // 4 * 3
    assert count(_meta(lambda: nn.Linear(4, 3)), x) == OperationCount(outputs * 4, outputs * 5, outputs * 5)
    without = _meta(lambda: nn.Linear(4, 3, bias=False))
    assert count(without, x) == OperationCount(outputs * 4, outputs * 4, outputs * 4)


@pytest.mark.parametrize(
    ("fn", "shapes", "macs", "bias"),
    [
        (torch.mm, [(2, 3), (3, 5)], 30, 0),
        (torch.bmm, [(4, 2, 3), (4, 3, 5)], 120, 0),
        (torch.matmul, [(4, 2, 3), (3, 5)], 120, 0),
        (torch.matmul, [(3,), (3, 5)], 15, 0),
        (torch.mv, [(2, 3), (3,)], 6, 0),
        (torch.dot, [(3,), (3,)], 3, 0),
        (torch.addmm, [(5,), (2, 3), (3, 5)], 30, 10),
        (torch.baddbmm, [(2, 5), (4, 2, 3), (4, 3, 5)], 120, 40),
        (torch.addbmm, [(2, 5), (4, 2, 3), (4, 3, 5)], 120, 10),
        (lambda a, b: torch.einsum("nchw,dc->ndhw", a, b), [(2, 3, 4, 4), (5, 3)], 480, 0),
        (lambda a, b: torch.tensordot(a, b, dims=([1], [0])), [(2, 3), (3, 5)], 30, 0),
    ],
)
def test_products(fn: Callable[..., Tensor], shapes: list[tuple[int, ...]], macs: int, bias: int) -> None:
    tensors = [torch.empty(shape, device="meta") for shape in shapes]
    assert count(fn, *tensors) == OperationCount(macs, macs + bias, macs + bias)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_costs_the_same_on_every_device(device: str, causal: bool) -> None:
    query, key = torch.zeros(2, 3, 7, 8, device=device), torch.zeros(2, 3, 5, 8, device=device)
    value = torch.zeros(2, 3, 5, 4, device=device)
    scores = 2 * 3 * 7 * 5
    counted = count(lambda: F.scaled_dot_product_attention(query, key, value, is_causal=causal))
    assert counted == OperationCount(scores * 12, scores * 13, scores * 13)


def test_a_transformer_layer() -> None:
    width, hidden, tokens = 8, 16, 5
    layer = _meta(lambda: nn.TransformerEncoderLayer(width, 2, hidden, batch_first=True).eval())
    macs = tokens * (4 * width**2 + 2 * width * hidden) + 2 * tokens**2 * width
    assert count(layer, torch.empty(1, tokens, width, device="meta")).macs == macs


def test_a_residual_addition_counts_and_bookkeeping_does_not() -> None:
    assert count(lambda: X + X) == OperationCount(full=N)
    assert count(lambda: X.clone().add_(X)) == OperationCount(full=N)
    assert count(lambda: torch.cat([X, X.permute(0, 1, 3, 2).contiguous()])[None]) == OperationCount()
    assert count(lambda: torch.arange(4, device="meta") + 1) == OperationCount()
    assert count(lambda: X.argmax(1)) == OperationCount()


@examples(30)
@given(st.data())
def test_convolutions_agree_with_an_independent_counter(data: st.DataObject) -> None:
    dimensions = data.draw(st.integers(1, 3))
    groups = data.draw(st.integers(1, 3))
    number = st.integers(1, 3)
    make = [nn.Conv1d, nn.Conv2d, nn.Conv3d] if data.draw(st.booleans()) else None
    transposed = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]
    conv = _meta(
        lambda: (make or transposed)[dimensions - 1](
            groups * data.draw(number),
            groups * data.draw(number),
            data.draw(number),
            stride=data.draw(number),
            padding=data.draw(st.integers(0, 1)),
            groups=groups,
            bias=data.draw(st.booleans()),
        )
    )
    sizes = [data.draw(st.integers(4, 7)) for _ in range(dimensions)]
    x = torch.empty(data.draw(number), conv.in_channels, *sizes, device="meta")  # type: ignore[call-overload]
    with FlopCounterMode(display=False) as reference:
        conv(x)
    assert 2 * count(conv, x).macs == reference.get_total_flops()


# --- what is not known ----------------------------------------------------------------------------------


def test_an_unknown_operator_is_named_with_the_cure() -> None:
    with pytest.raises(UnknownOperatorError, match=r"'aten.erfinv'.*rules=.*free") as caught:
        count(torch.erfinv, X)
    assert isinstance(caught.value, AnytimeNetError)


def test_a_rule_can_be_given_for_one_call_only() -> None:
    rules = {"aten.erfinv": lambda args, result: OperationCount(full=3 * result.numel())}
    assert count(torch.erfinv, X, rules=rules) == OperationCount(full=3 * N)
    with pytest.raises(UnknownOperatorError):
        count(torch.erfinv, X)


def test_a_given_rule_comes_before_the_built_in_one() -> None:
    linear = _meta(lambda: nn.Linear(6, 6))
    rules = {"aten.linear": lambda args, result: OperationCount(macs=1)}
    assert count(linear, X, rules=rules) == OperationCount(macs=1)


def test_a_rule_for_a_custom_operator() -> None:
    library = torch.library.Library("anytimenet_test", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: torch.empty_like(x), "Meta")
    twice = torch.ops.anytimenet_test.twice
    with pytest.raises(UnknownOperatorError, match=r"anytimenet_test\.twice"):
        count(twice, X)
    rules = {"anytimenet_test.twice": lambda args, result: OperationCount()}
    assert count(twice, X, rules=rules) == OperationCount()


def test_a_rule_that_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"aten\.erfinv"):
        count(torch.erfinv, X, rules={"aten.erfinv": OperationCount()})  # type: ignore[dict-item]


def test_a_norm_of_the_wrong_width_is_still_an_error() -> None:
    with pytest.raises(RuntimeError, match="8"):
        count(_meta(lambda: nn.BatchNorm2d(7).eval()), X)


# --- counting leaves no trace ---------------------------------------------------------------------------


def test_threads_count_apart() -> None:
    conv = _meta(lambda: nn.Conv2d(8, 8, 3))
    alone = count(conv, X)
    counted: list[OperationCount] = []
    threads = [
        threading.Thread(target=lambda: counted.extend(count(conv, X) for _ in range(20))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == [alone] * 80


# --- the costs of stages --------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_stage_costs_leave_the_net_untouched(training: bool) -> None:
    net = create_net("isresnext_tiny", 10).train(training)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes = {name: module.training for name, module in net.named_modules()}
    costs = stage_costs(net, (3, 8, 8))
    assert costs == stage_costs(create_net("isresnext_tiny", 10).eval(), (3, 8, 8))
    assert {name: module.training for name, module in net.named_modules()} == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(p.grad is None and p.device.type == "cpu" for p in net.parameters())


def test_no_weight_is_read() -> None:
    """A net whose storages are gone can still be counted."""
    net = create_net("isresnext_tiny", 10)
    expected = stage_costs(net, (3, 8, 8))
    for tensor in net.state_dict().values():
        tensor.untyped_storage().resize_(0)
    assert stage_costs(net, (3, 8, 8)) == expected


def test_costs_do_not_depend_on_the_dtype() -> None:
    net = create_net("iresnext_tiny", 10)
    assert stage_costs(net.double(), (3, 8, 8)) == stage_costs(net.float(), (3, 8, 8))


def test_each_label_level_has_its_own_head() -> None:
    one, two = (stage_costs(create_net("isresnext_tiny", c), (3, 8, 8)) for c in ((10,), (10, 4)))
    for few, more in zip(one, two, strict=True):
        features = (more.macs - few.macs) // 4  # macs of the second level's 4-class linear layer
        assert more.params - few.params == 2 * features + 4 * features + 4
        assert more.macs_step > few.macs_step


@pytest.mark.parametrize("name", list_nets("*_tiny"))
def test_cost_rules_of_segments(name: str) -> None:
    """Each step costs more than nothing; (a, b) no more than (0, b) and than the sum of its steps."""
    net, image = _tiny(name)
    last = net.num_stages
    states, steps = [(image,)], []
    for stage in range(1, last + 1):
        segment = net.segment(stage - 1, stage)
        steps.append(count(segment, states[-1]).macs)
        states.append(segment(states[-1])[0])
    assert min(steps) > 0
    for stop in range(1, last + 1):
        whole = count(net.segment(0, stop, last=True), (image,)).macs
        for start in range(stop):
            jump = count(net.segment(start, stop, last=True), states[start]).macs
            assert 0 < jump <= min(whole, sum(steps[start:stop]))


@pytest.mark.parametrize("name", list_nets("*_tiny"))
def test_stage_costs_add_up(name: str) -> None:
    net, image = _tiny(name)
    costs = stage_costs(net, image.shape[1:])
    total = 0
    for stage, cost in enumerate(costs, 1):
        total += cost.macs_step
        assert (cost.stage, cost.macs_cumulative) == (stage, total)
        assert 0 < cost.macs <= cost.macs_cumulative < cost.msd
        assert cost.macs < cost.full
        assert cost.params <= cost.params_cumulative
    if not isinstance(net, EANN):  # each of its members begins again
        assert [c.macs for c in costs] == sorted(c.macs for c in costs)
    assert costs[-1].params_cumulative == sum(p.numel() for p in net.parameters())


def test_wrong_input_shapes_are_named() -> None:
    net = create_net("isresnext_tiny", 10)
    with pytest.raises(ValueError, match=r"\(C, H, W\)"):
        stage_costs(net, (1, 3, 8, 8))
    with pytest.raises(ValueError, match="3-channel"):
        stage_costs(net, (1, 8, 8))
    with pytest.raises(ValueError, match="too small"):
        stage_costs(net, (3, 1, 1))


def _tiny(name: str) -> tuple[AnytimeNet, Tensor]:
    with torch.device("meta"):
        return create_net(name, 10), torch.empty(1, *net_entry(name).input_shape)
