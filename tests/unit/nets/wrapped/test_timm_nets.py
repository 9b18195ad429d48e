"""Nets of timm by name: built, saved, rebuilt without timm's weights, and what is refused."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from anytimenet.core.errors import DeliveryError, MissingExtraError
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.nets import create_net, list_nets, net_entry, rebuild_net

NAME, SIZE = "timm:test_efficientnet", 32


@pytest.fixture
def timm(torchvision: Any) -> Any:
    return pytest.importorskip("timm")


def test_exits_are_placed_and_the_place_is_what_a_bundle_stores(timm):
    net = create_net(NAME, 5, exits=3, input_size=SIZE)
    assert net.num_stages == 3
    told = json.loads(json.dumps(net.origin.arguments))
    assert told == {
        "num_classes": [5],
        "taps": told["taps"],
        "input_size": [SIZE, SIZE],
        "in_channels": 3,
    }
    twin = rebuild_net(NetOrigin(net.origin.name, told))
    assert twin.origin == net.origin
    twin.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, SIZE, SIZE)
    for (mine,), (other,) in zip(net.eval()(x), twin.eval()(x), strict=True):
        assert torch.equal(mine, other)


def test_the_last_answer_is_that_of_timm(timm, tmp_path):
    torch.manual_seed(0)
    theirs = timm.create_model(NAME.partition(":")[2], num_classes=5)
    file = tmp_path / "theirs.safetensors"
    save_file(theirs.state_dict(), file)
    net = create_net(NAME, 5, exits=3, input_size=SIZE, pretrained=str(file))
    assert "pretrained" not in net.origin.arguments
    x = torch.randn(2, 3, SIZE, SIZE)
    assert torch.allclose(net.eval()(x)[-1][0], theirs.eval()(x), rtol=1e-4, atol=1e-5)
    # Of other classes all but the classifier is taken.
    other = create_net(NAME, 7, exits=3, input_size=SIZE, pretrained=str(file))
    stem = theirs.conv_stem.weight
    assert any(torch.equal(tensor, stem) for tensor in other.state_dict().values())
    assert other.eval()(x)[-1][0].shape == (2, 7)


def test_weights_that_cannot_be_had_are_an_error_that_says_what_to_do(timm, tmp_path, monkeypatch):
    def offline(*arguments: Any, **named: Any) -> Any:
        raise OSError("no way out")

    monkeypatch.setattr(timm.models._builder, "load_pretrained", offline)
    with pytest.raises(DeliveryError, match=r"no way out\): bring them as a file, and give pretrained='PATH"):
        create_net(NAME, pretrained=True)
    with pytest.raises(ValueError, match="is no file"):
        create_net(NAME, pretrained=str(tmp_path / "none.safetensors"))
    (tmp_path / "pickle.pth").write_bytes(b"\x80\x02]")
    with pytest.raises(ValueError, match="is no safetensors file"):
        create_net(NAME, pretrained=str(tmp_path / "pickle.pth"))
    save_file({"layer": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds no weights of timm's test_efficientnet"):
        create_net(NAME, pretrained=str(tmp_path / "other.safetensors"), input_size=SIZE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exits": 1}, "exits"),
        ({"exits": 20}, "exits are the most"),
        ({"exits": 3, "taps": ["blocks.1"]}, "taps make 2 exits"),
        ({"taps": []}, "names no sub-module"),
        ({"taps": ["blok"]}, "no sub-module 'blok'"),
        ({"stages": 3}, "has no argument 'stages'"),
    ],
)
def test_what_cannot_be_built_is_said_before_it_is_built(timm, arguments, message):
    with pytest.raises(ValueError, match=message):
        create_net(NAME, input_size=SIZE, **arguments)


def test_a_name_that_timm_does_not_have_is_answered_with_those_near_it(timm):
    with pytest.raises(ValueError, match=r"no net 'resnet5O'.*did you mean .*resnet50"):
        create_net("timm:resnet5O")
    with pytest.raises(ValueError, match=r"no nets have the prefix 'tim'.*did you mean 'timm'"):
        create_net("tim:resnet50")


def test_nets_of_timm_are_listed_where_they_are_asked_for(timm):
    assert "timm:vit_tiny_patch16_224" in list_nets("timm:vit_tiny*")
    assert not [name for name in list_nets() if ":" in name]
    assert net_entry("timm:vit_tiny_patch16_224").input_shape == (3, 224, 224)


def test_where_timm_is_missing_the_extra_is_named(monkeypatch):
    for name in ("timm", "torchvision"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"\[vision\]"):
        create_net("timm:resnet18")
