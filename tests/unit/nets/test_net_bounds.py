"""What a net may be built from has bounds: a file or a slip of the finger does not take the machine."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from anytimenet.bundle import Bundle
from anytimenet.cli.main import run as command
from anytimenet.core.errors import BundleError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.nets import build_on_meta, building, create_net, register_net, registry
from anytimenet.nets.arguments import split_like

GREY = Preprocessing(8, 8, 1, mean=(0.4,), std=(0.3,))


def nested(depth: int) -> list[Any]:
    value: list[Any] = [1]
    for _ in range(depth):
        value = [value]
    return value


TOO_MUCH = [
    ({"width": 10**30}, "width 1000000000000000000000000000000 is too large"),
    ({"width": -(10**30)}, "is too large"),
    ({"width": -12}, "width|divided"),
    ({"blocks": [1] * 1_000_000}, "blocks is a list of 1000000"),
    ({"blocks": nested(50)}, "blocks is nested more than 40 deep"),
    ({"blocks": nested(3)}, "blocks"),
    ({"blocks": [60_000] * 3}, "which no machine holds"),
    ({"blocks": [[0] * 9_000, [0] * 9_000, [0] * 9_000]}, "blocks is a list of|too many values"),
    ({"width": 65_520, "branch_width": 65_536}, "which no machine holds|takes more than"),
    ({"width": float("nan")}, "must be a finite number"),
    ({"init": "x" * 10_000}, "init is a text of 10000 letters"),
]


@pytest.mark.parametrize(("arguments", "cause"), TOO_MUCH)
def test_arguments_that_no_net_is_built_from_are_refused_by_name(
    arguments: dict[str, Any], cause: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=cause):
        build_on_meta(lambda: create_net("isresnext_tiny", **arguments))
    members = [{"name": "isresnext_tiny", "arguments": arguments}]
    with pytest.raises(ValueError, match="|".join((cause, "members"))):
        build_on_meta(lambda: create_net("eann", members=members))


@pytest.mark.parametrize("arguments", [{"width": 10**17}, {"blocks": [60_000] * 3}, {"blocks": nested(50)}])
def test_a_received_bundle_cannot_ask_for_them(tmp_path: Path, arguments: dict[str, Any]) -> None:
    net = create_net("isresnext_tiny", num_classes=2, in_channels=1)
    folder = Bundle.create(net, class_names=[["a", "b"]], preprocessing=GREY).save(tmp_path / "b")
    manifest = Manifest.read(folder)
    assert manifest.net is not None
    hostile = replace(manifest.net, arguments={**manifest.net.arguments, **arguments})
    replace(manifest, net=hostile).write(folder)
    with pytest.raises(BundleError, match="its net cannot be built"):
        Bundle.load(folder)
    assert command(["info", str(folder)]) == 0  # what is written is told, and nothing is built


def test_the_command_line_refuses_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["info", "isresnext_tiny", "--net-args", f"width={10**30}"]) == 1
    assert "width" in capsys.readouterr().err
    assert command(["info", "isresnext_tiny", "--num-classes", str(10**7)]) == 1


def test_more_than_this_machine_holds_is_refused_before_its_memory_is_touched(
    monkeypatch: pytest.MonkeyPatch, fence: None
) -> None:
    monkeypatch.setattr(building, "_memory", lambda: 1e6)

    drawn = nn.init.kaiming_uniform_

    def small(tensor: torch.Tensor, **options: Any) -> torch.Tensor:
        assert tensor.numel() < 100_000, "the values of the large one are drawn"
        return drawn(tensor, **options)

    with monkeypatch.context() as patch:
        patch.setattr(nn.init, "kaiming_uniform_", small)
        with pytest.raises(ValueError, match="takes more than 0 GiB"):
            create_net("fence_for_test_net_bounds", 2)
    assert create_net("resnet_tiny", 2).num_stages == 1
    assert build_on_meta(lambda: create_net("fence_for_test_net_bounds", 2)).num_stages == 1


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1000, 1000)


def _fence(num_classes: tuple[int, ...], wide: bool = True) -> Any:
    net = create_net("resnet_tiny", num_classes)
    net.add_module("wide", Wide())
    return net


@pytest.fixture
def fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered net with a large layer, for one test."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    register_net("fence_for_test_net_bounds", input_shape=(3, 8, 8), summary="for this test")(_fence)


def test_each_thread_counts_its_own() -> None:
    found: list[int] = []

    def build() -> None:
        for _ in range(3):
            found.append(create_net("resnet_tiny", 2).num_stages)
            nn.Linear(2, 2)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 12


def test_an_error_of_a_builder_names_the_net() -> None:
    def broken(num_classes: tuple[int, ...], size: int = 3) -> Any:
        return torch.empty(2, 3) @ torch.empty(size)

    register_net("broken_for_test_net_bounds", input_shape=(3, 8, 8), summary="for this test")(broken)
    with pytest.raises(ValueError, match="broken_for_test_net_bounds cannot be built"):
        create_net("broken_for_test_net_bounds", size=4)


def test_the_nearest_width_is_found_without_trying_all() -> None:
    for width, slices, nearest in (
        (13, (1, 1, 1), 12),
        (14, (1, 1, 1), 15),
        (0, (2, 2), 2),
        (65_535, (1, 3), 65_536),
    ):
        with pytest.raises(ValueError, match=rf"nearest width that can is {nearest}$"):
            split_like(width, slices)
    assert json.dumps(split_like(96, (3, 3))) == "[48, 48]"
