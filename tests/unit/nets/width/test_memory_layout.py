"""Nets that a kernel of AVX2 machines would break train in the plain layout, and no others."""

import pytest
import torch

from anytimenet.nets import create_net
from anytimenet.nets.width.memory_layout import contiguous, needs_contiguous

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("universally_slimmable_tiny", True),
        ("slimmable_tiny", True),
        ("fcn_exits_tiny", True),
        ("isresnext_47", False),
        ("iresnext_29", False),
        ("resnet_ann_45", False),
    ],
)
def test_nets_with_few_channels_in_strided_pointwise_layers(
    name: str, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):
        net = create_net(name)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert needs_contiguous(net, CPU) is wanted
    assert not needs_contiguous(net, torch.device("cuda"))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert not needs_contiguous(net, CPU)


def test_one_channel_gets_the_plain_strides() -> None:
    x = torch.zeros(2, 1, 4, 4).to(memory_format=torch.channels_last)
    x = torch.empty_strided((2, 1, 4, 4), (16, 1, 4, 1)).copy_(x)
    assert contiguous(x).stride() == (16, 16, 4, 1)
