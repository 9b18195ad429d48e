"""Classifiers of torchvision by name: built, rebuilt without torchvision's weights, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from anytimenet.core.errors import DeliveryError, PretrainedError
from anytimenet.nets import create_net, list_nets, net_entry, pretrained_weights, rebuild_net

NAME, SIZE = "torchvision:squeezenet1_1", 64


def test_the_last_answer_is_that_of_torchvision_from_a_file_of_weights(torchvision, tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.squeezenet1_1(num_classes=5)
    file = tmp_path / "theirs.safetensors"
    save_file(theirs.state_dict(), file)
    net = create_net(NAME, 5, exits=3, input_size=SIZE, pretrained=str(file))
    assert net.num_stages == 3
    assert not {"exits", "pretrained"} & set(net.origin.arguments)
    x = torch.randn(2, 3, SIZE, SIZE)
    own = theirs.eval()(x)
    assert torch.allclose(net.eval()(x)[-1][0], own, rtol=1e-4, atol=1e-5)
    twin = rebuild_net(net.origin)
    assert twin.origin == net.origin
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin.eval()(x)[0][0], net(x)[0][0])
    assert net.pretraining == replace(pretrained_weights(NAME).pretraining, image_size=SIZE)
    assert net.pretraining.mean == (0.485, 0.456, 0.406)


def test_weights_that_cannot_be_had_are_an_error_that_says_what_to_do(torchvision, tmp_path, monkeypatch):
    def offline(*arguments: Any, **named: Any) -> Any:
        raise OSError("no way out")

    monkeypatch.setattr(torchvision.models.SqueezeNet1_1_Weights, "get_state_dict", offline)
    with pytest.raises(DeliveryError, match=r"no way out\): bring them as a file, and give pretrained='PATH"):
        create_net(NAME, pretrained=True)
    save_file({"layer": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(PretrainedError, match=r"no weights of torchvision's squeezenet1_1: features.0"):
        create_net(NAME, pretrained=str(tmp_path / "other.safetensors"))


def test_what_torchvision_does_not_have_is_said(torchvision):
    with pytest.raises(ValueError, match=r"did you mean .*'squeezenet1_1'"):
        create_net("torchvision:squeezenet11")
    with pytest.raises(ValueError, match="read 3 channels"):
        create_net(NAME, in_channels=1)
    with pytest.raises(ValueError, match="vit_b_16 reads square images"):
        create_net("torchvision:vit_b_16", input_size=(32, 48))


def test_classifiers_are_listed_and_nothing_else(torchvision):
    names = list_nets("torchvision:*")
    assert "torchvision:resnet18" in names
    assert not [name for name in names if "detection" in name or "segmentation" in name]
    assert net_entry(NAME).input_shape == (3, 224, 224)
