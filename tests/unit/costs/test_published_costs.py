"""The counter, run on the real modules, gives every printed digit of the papers' cost tables.

Multiply-adds are in millions, three decimals; a row is (macs, full, params) of each stage alone.
"""

from functools import cache

import pytest
import torch

from anytimenet.costs import StageCost, count, stage_costs
from anytimenet.nets import AnytimeNet, create_net

IRESNEXT = {
    ("iresnext_29", 10): (
        "7.818 13.863 19.909 25.955 32.001 38.046 44.092 50.138",
        "9.083 15.215 21.347 27.479 33.610 39.742 45.874 52.005",
        "49162 90826 132490 174154 215818 257482 299146 340810",
        390_608,
    ),
    ("iresnext_65", 10): (
        "15.879 29.985 44.092 58.199 72.305 86.412 100.518 114.625",
        "18.635 32.943 47.250 61.557 75.865 90.172 104.479 118.787",
        "108298 205514 302730 399946 497162 594378 691594 788810",
        876_240,
    ),
}
ISRESNEXT = {
    ("isresnext_47", 10): (
        "12.977 28.903 47.778 69.602 94.375 122.097",
        "12.977 15.927 18.876 21.826 24.776 27.726",
        "12.977 28.903 47.780 69.606 94.381 122.107",
        "13.874 30.697 50.469 73.190 98.860 127.480",
        "89690 199530 329530 479690 650010 840490",
        852_060,
    ),
    ("isresnext_47", 100): (
        "12.983 28.914 47.795 69.625 94.404 122.132",
        "12.983 15.938 18.894 21.849 24.805 27.760",
        "12.983 28.921 47.814 69.663 94.468 122.228",
        "13.880 30.708 50.486 73.213 98.889 127.514",
        "95540 211140 346900 502820 678900 875140",
        973_560,
    ),
    ("isresnext_62_imagenet", 1000): (
        "209.791 467.751 773.880 1128.178 1530.644",
        "209.791 258.216 306.641 355.066 403.491",
        "209.791 468.007 774.648 1129.714 1533.204",
        "216.051 480.271 792.659 1153.216 1561.943",
        "1294216 2913832 4859848 7132264 9731080",
        12_300_200,
    ),
    ("isresnext_50_cub", 200): (
        "179.481 397.496 654.047 949.133 1282.755 1654.911",
        "179.481 218.067 256.653 295.240 333.826 372.412",
        "179.481 397.548 654.201 949.441 1283.267 1655.679",
        "184.611 407.758 669.439 969.655 1308.407 1685.694",
        "882216 2025352 3429608 5094984 7021480 9209096",
        9_985_776,
    ),
}
SHALLOW = {
    ("resnext_29_exits", 10): (
        "12.518 17.892 23.267 28.641 34.014 39.390 44.764 50.138",
        "13.370 19.072 24.577 30.115 35.653 41.094 46.550 52.005",
        "13514 19018 41290 62794 84298 170826 255818 340810",
    ),
}


@pytest.mark.parametrize(("name", "classes"), SHALLOW)
def test_shallow_exit_table(name: str, classes: int) -> None:
    macs, full, params = SHALLOW[name, classes]
    costs = _costs(name, classes)
    assert _millions(costs, "macs") == macs
    assert _millions(costs, "full") == full
    assert _integers(costs, "params") == params


@pytest.mark.parametrize(("name", "classes"), IRESNEXT)
def test_iresnext_tables(name: str, classes: int) -> None:
    macs, full, params, stored = IRESNEXT[name, classes]
    costs = _costs(name, classes)
    assert _millions(costs, "macs") == macs
    assert _millions(costs, "full") == full
    assert _integers(costs, "params") == params
    assert costs[-1].params_cumulative == stored == _scalars(_net(name, classes))


def test_iresnext_of_cifar_100_adds_its_larger_heads() -> None:
    few, many = _costs("iresnext_65", 10), _costs("iresnext_65", 100)
    for ten, hundred in zip(few, many, strict=True):
        assert f"{(hundred.macs - ten.macs) / 1e6:.3f}" == "0.023"
        assert f"{(hundred.full - ten.full) / 1e6:.3f}" == "0.023"
        assert hundred.params - ten.params == 23_130
    assert many[-1].params_cumulative == 1_061_280


@pytest.mark.parametrize(("name", "stored"), [("iresnext_29", 362_384), ("iresnext_65", 810_384)])
def test_iresnext_with_shared_normalisation(name: str, stored: int) -> None:
    with torch.device("meta"):
        shared = create_net(name, 10, normalisation="shared")
    assert _scalars(shared) == stored
    # Sub-network k alone is the same network, whoever shares its normalisation with it.
    for cost in _costs(name, 10):
        assert _scalars(shared.segment(0, cost.stage, last=True)) == cost.params


@pytest.mark.parametrize(("name", "classes"), ISRESNEXT)
def test_isresnext_tables(name: str, classes: int) -> None:
    alone, step, cumulative, full, params, stored = ISRESNEXT[name, classes]
    costs = _costs(name, classes)
    assert _millions(costs, "macs") == alone
    assert _millions(costs, "macs_step") == step
    assert _millions(costs, "macs_cumulative") == cumulative
    assert _millions(costs, "full") == full
    assert _integers(costs, "params") == params
    assert costs[-1].params_cumulative == stored == _scalars(_net(name, classes))


@pytest.mark.parametrize(
    ("name", "macs", "full", "params"),
    [("resnext_29", "50.138", "52.005", 340_810), ("resnext_65", "114.625", "118.787", 788_810)],
)
def test_plain_resnext_costs_what_the_full_sub_network_costs(
    name: str, macs: str, full: str, params: int
) -> None:
    (cost,) = _costs(name, 10)
    assert (f"{cost.macs / 1e6:.3f}", f"{cost.full / 1e6:.3f}", cost.params) == (macs, full, params)


@pytest.mark.parametrize(
    ("name", "width", "macs"),
    [
        ("resnet_ann_45", 32, "388"),
        ("resnet_ann_81", 32, "728"),
        ("resnet_ann_153", 32, "1407"),
        ("resnet_ann_45", 16, "97"),
        ("resnet_ann_81", 16, "182"),
        ("resnet_ann_153", 16, "352"),
    ],
)
def test_resnet_ann_costs(name: str, width: int, macs: str) -> None:
    with torch.device("meta"):
        net = create_net(name, 100, width=width).eval()
        last = net.segment(0, net.num_stages, last=True)
        assert f"{count(last, (torch.empty(1, 3, 32, 32),)).macs / 1e6:.0f}" == macs


@pytest.mark.parametrize("name", ["iresnext_29", "isresnext_47", "isresnext_62_imagenet"])
def test_params_are_those_of_the_segment_that_would_run(name: str) -> None:
    classes = 1000 if name.endswith("imagenet") else 10
    net = _net(name, classes)
    for cost in _costs(name, classes):
        assert cost.params == _scalars(net.segment(0, cost.stage, last=True))


@cache
def _net(name: str, classes: int) -> AnytimeNet:
    with torch.device("meta"):
        return create_net(name, classes)


@cache
def _costs(name: str, classes: int) -> list[StageCost]:
    size = 32 if classes in (10, 100) else 224
    return stage_costs(_net(name, classes), (3, size, size))


def _millions(costs: list[StageCost], field: str) -> str:
    return " ".join(f"{getattr(cost, field) / 1e6:.3f}" for cost in costs)


def _integers(costs: list[StageCost], field: str) -> str:
    return " ".join(str(getattr(cost, field)) for cost in costs)


def _scalars(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
