"""Families of timm and torchvision take exits: the answer is theirs, the contract is kept, all exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.nets.wrapped.families import CLASSES, TIMM, TORCHVISION
from torch import Tensor, nn

from anytimenet import Bundle, Preprocessing
from anytimenet.export import export, onnx_files
from anytimenet.export.lowering import lower
from anytimenet.nets import AnytimeNet, wrap
from anytimenet.runtime import ExportedNet
from anytimenet.testing import CHECKS
from anytimenet.testing.net_under_test import NetUnderTest

NOT_HERE = {"snapshots", "passes", "re-entrance", "threads", "export"}
"""Promises that `ChainNet` keeps for any graph, and whose proofs take most of the time."""
QUICK = {"forward", "buffers", "state spec", "segments", "last", "parts cover"}
DEAD = {"beit", "cait", "mixer"}
"""They have numbers that change no answer: a shift of all scores before a softmax, or of all channels before
a norm over them."""

FAMILIES = {f"timm {name}": family for name, family in TIMM.items()}
FAMILIES |= {f"torchvision {name}": family for name, family in TORCHVISION.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_takes_exits(name, torchvision, tmp_path, monkeypatch):
    family = FAMILIES[name]
    module = built(name, torchvision)
    shape = (3, family.side, family.side)
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    own = answer(module, x)
    net = wrap(module, family.taps, input_shape=shape)
    assert net.num_stages == len(family.taps) + 1
    same(net.eval()(x)[-1][0], own)
    prove_the_contract(net, shape, name)
    prove_that_it_trains(net, x)
    monkeypatch.setattr(onnx_files, "_by_torch", lower)  # each operator is one that is written here
    prove_that_segments_export(net.eval(), x, tmp_path / "exported")


def built(name: str, torchvision: Any) -> nn.Module:
    torch.manual_seed(0)
    package = torchvision.models if name.startswith("torchvision") else pytest.importorskip("timm")
    module: nn.Module = FAMILIES[name].build(package)
    for weight in module.parameters():  # some classifiers start with zeros, and would answer nothing
        if not weight.any():
            nn.init.normal_(weight, std=0.1)
    return module


def answer(module: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        given: Tensor = module.eval()(x)
    module.train()
    return given


def same(one: Tensor | np.ndarray, other: Tensor | np.ndarray) -> None:
    one, other = (np.asarray(torch.as_tensor(each).detach()) for each in (one, other))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(other).max())))


def prove_the_contract(net: AnytimeNet, shape: tuple[int, ...], name: str) -> None:
    subject = NetUnderTest(net, shape)
    left_out = NOT_HERE | ({"parts effect", "gradients"} if name.split()[1] in DEAD else set())
    for check in CHECKS:
        if check.promise in QUICK or (check.promise not in left_out and not FAMILIES[name].large):
            check(subject)


def prove_that_it_trains(net: AnytimeNet, x: Tensor) -> None:
    """Statistics move, dropout acts, and what comes out has gradients."""
    norms: list[Any] = [part for part in net.blocks.modules() if isinstance(part, nn.BatchNorm2d)]  # type: ignore[union-attr]
    before = [norm.running_mean.clone() for norm in norms]
    net.train()
    first, *others = (net(x)[-1][0] for _ in range(8))
    assert not any(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
    assert any(not torch.equal(first, other) for other in others) == drops(net)
    first.sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in net.parameters())
    net.zero_grad()


def drops(net: nn.Module) -> bool:
    """Whether something of it is left out at random: units, or whole branches."""
    shares = [
        getattr(part, name, 0) or 0
        for part in net.modules()
        if type(part).__name__ in ("Dropout", "DropPath", "StochasticDepth")
        for name in ("p", "drop_prob")
    ]
    return any(share > 0 for share in shares)


def prove_that_segments_export(net: AnytimeNet, x: Tensor, folder: Path) -> None:
    look = Preprocessing(x.shape[2], x.shape[3], 3, (0.5,) * 3, (0.5,) * 3)
    bundle = Bundle.create(net, class_names=[list("abcde")[:CLASSES]], preprocessing=look)
    export(bundle, folder, segments=[(stage - 1, stage) for stage in range(1, net.num_stages + 1)])
    backend = ExportedNet.load(folder).backend
    with torch.inference_mode():
        expected = net(x)
    state = backend.begin(x.numpy())
    for stage, (logits,) in enumerate(expected, 1):
        state, output = backend.run(stage - 1, stage, state)
        same(output[0], logits)
