"""Backbones of torchvision and timm take exits; skipped where they are not installed."""

from __future__ import annotations

import pytest
import torch

from anytimenet.nets import wrap


@pytest.mark.parametrize(
    ("name", "taps"),
    [
        ("resnet18", ["layer1", "layer2.0", "layer3"]),
        ("vgg11_bn", ["features.7", "features.14"]),
        ("mobilenet_v2", ["features.7", "features.14"]),
        ("densenet121", ["features.denseblock1", "features.denseblock2"]),
    ],
)
def test_exits_on_torchvisions_nets_leave_their_answer_as_it_is(torchvision, name, taps):
    _check(getattr(torchvision.models, name)(num_classes=10), taps)


@pytest.mark.parametrize(
    ("name", "taps"),
    [
        ("resnet18", ["layer1", "layer2"]),
        ("efficientnet_b0", ["blocks.1", "blocks.3.1"]),
        ("mobilenetv3_small_100", ["blocks.1", "blocks.3"]),  # an activation in place before its classifier
        ("regnety_002", ["s1", "s2"]),
    ],
)
def test_exits_on_timms_nets_leave_their_answer_as_it_is(torchvision, name, taps):
    timm = pytest.importorskip("timm")
    _check(timm.create_model(name, num_classes=10), taps)


def _check(module: torch.nn.Module, taps: list[str]) -> None:
    net = wrap(module, taps, input_shape=(3, 64, 64)).eval()
    assert net.num_stages == len(taps) + 1
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = module.eval()(x)
        assert torch.allclose(net(x)[-1][0], expected, rtol=1e-4, atol=1e-5)
        state = (x,)
        for stage in range(1, net.num_stages):
            state, _ = net.segment(stage - 1, stage)(state)
        _, (logits,) = net.segment(net.num_stages - 1, net.num_stages)(state)
        assert torch.allclose(logits, expected, rtol=1e-4, atol=1e-5)
