"""Where a run starts: weights of a bundle or a checkpoint; and what is said when a run breaks can be done."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from anytimenet import TrainConfig, create_net, evaluate, fit, label_map, load
from anytimenet.bundle import Bundle
from anytimenet.core.errors import NotFiniteError, TrainingError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.data import MaskSet
from anytimenet.training.checkpoints import Checkpoint
from anytimenet.training.step import TrainingStep
from anytimenet.workflows.identity import net_identity
from anytimenet.workflows.starting import start_from

PROGRESS = {"best": {"epoch": 1, "score": 0.5, "val": [0.5]}, "history": [], "losses": {}}


def images(count: int = 24) -> list[tuple[np.ndarray, int]]:
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 255, (8, 8, 1), dtype=np.uint8), i % 2) for i in range(count)]


def tiny(seed: int = 0, classes: int = 2, name: str = "isresnext_tiny", **arguments):
    torch.manual_seed(seed)
    return create_net(name, classes, in_channels=1, **arguments)


def saved(net, path, **run):
    tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    Checkpoint(1, 0, {**net_identity(net), **run}, PROGRESS, tensors).save(path)
    return path


def equal(one, other) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def test_a_run_starts_from_a_checkpoint(tmp_path):
    source, net = tiny(1), tiny(2)
    assert start_from(net, saved(source, tmp_path / "best.safetensors")) == len(net.state_dict())
    assert equal(net, source)


def test_other_classes_start_anew(tmp_path):
    source, net = tiny(1), tiny(2, classes=5)
    before = net.heads[0].levels[0].fc.weight.clone()
    start_from(net, saved(source, tmp_path / "best.safetensors"))
    assert torch.equal(net.heads[0].levels[0].fc.weight, before)
    assert torch.equal(next(net.parameters()), next(source.parameters()))


def test_another_net_and_broken_weights_are_refused(tmp_path):
    path = saved(tiny(1, name="resnet_tiny"), tmp_path / "best.safetensors")
    with pytest.raises(ValueError, match=r"the checkpoint do not fit this net \(resnet_tiny, here isresnext"):
        start_from(tiny(), path)
    broken = tiny()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        start_from(tiny(), saved(broken, path))
    with pytest.raises(TrainingError, match="there is no checkpoint"):
        start_from(tiny(), tmp_path / "none.safetensors")


def test_the_advice_after_a_broken_run_works(tmp_path, monkeypatch):
    config = TrainConfig(epochs=3, batch_size=8, device="cpu", lr=0.05)
    step = TrainingStep.take

    def breaks_at_a_high_rate(self, x, labels, position):
        values = step(self, x, labels, position)
        if position.step == 4 and self._config.lr > 0.01:
            with torch.no_grad():
                self.net.heads[0].levels[0].fc.weight.fill_(float("inf"))
        return values

    monkeypatch.setattr(TrainingStep, "take", breaks_at_a_high_rate)
    with pytest.raises(TrainingError, match="another out") as told:
        fit(tiny(), images(), config=config, out=tmp_path / "one")
    lower = TrainConfig(epochs=3, batch_size=8, device="cpu", lr=0.01)
    with pytest.raises(TrainingError, match=r"lr was 0\.05, is 0\.01.*init="):
        fit(tiny(), images(), config=lower, out=tmp_path / "one", resume=True)
    init = re.search(r"init='(.*?)'", str(told.value))[1]
    bundle = fit(tiny(), images(), config=lower, out=tmp_path / "two", init=init)
    assert bundle.manifest.provenance["init"] == init
    assert bundle.manifest.provenance["best_epoch"] in (1, 2, 3)
    # Longer training of a finished run is another run, too.
    longer = TrainConfig(epochs=5, batch_size=8, device="cpu", lr=0.01)
    with pytest.raises(TrainingError, match=r"epochs was 3, is 5.*init="):
        fit(tiny(), images(), config=longer, out=tmp_path / "two", resume=True)
    fit(tiny(), images(), config=longer, out=tmp_path / "three", init=bundle)
    with pytest.raises(ValueError, match=r"not finished.*init="):
        load(tmp_path / "two")


def test_what_the_weights_started_from_is_told_by_the_argument_and_no_note(tmp_path):
    config = TrainConfig(epochs=1, batch_size=8, device="cpu")
    start = saved(tiny(1), tmp_path / "best.safetensors")
    noted = fit(tiny(), images(), config=config, out=tmp_path / "noted", provenance={"init": "elsewhere"})
    begun = fit(tiny(), images(), config=config, out=tmp_path / "begun", init=start)
    runs = [
        Checkpoint.load(tmp_path / name / "checkpoints" / "last.safetensors").run
        for name in ("noted", "begun")
    ]
    assert [run.get("init") for run in runs] == [None, str(start)]
    assert [bundle.manifest.provenance["init"] for bundle in (noted, begun)] == ["elsewhere", str(start)]


def test_a_net_without_numbers_is_not_evaluated():
    bundle = fit(tiny(), images(), config=TrainConfig(epochs=1, batch_size=8, device="cpu"))
    with torch.no_grad():
        bundle.net.heads[1].levels[0].fc.bias[0] = float("nan")
    data = images()
    for judge in (evaluate, lambda b, d: evaluate(b, d, ensemble="mean")):
        with pytest.raises(NotFiniteError, match="stage 2 answers"):
            judge(bundle, data)
    with pytest.raises(NotFiniteError, match="stage 2 answers"):
        bundle.predict(data[0][0], stage=2)
    assert bundle.predict(data[0][0], stage=1).label in ("0", "1")


def test_a_net_of_label_maps_without_numbers_is_not_evaluated():
    net = create_net("fcn_exits_tiny", 2, in_channels=1)
    with torch.no_grad():
        list(net.heads[0].parameters())[-1][0] = float("inf")
    pixels = np.zeros((4, 32, 32, 1), np.uint8)
    masks = MaskSet(pixels, np.zeros((4, 32, 32), np.uint8), tuple("abcd"))
    bundle = Bundle.create(
        net.eval(),
        class_names=[["wall", "door"]],
        preprocessing=Preprocessing(32, 32, 1, (0.5,), (0.25,)),
        provenance={"masks": MaskClasses(("wall", "door"), (0, 1), ((0, 0, 0), (255, 0, 0))).to_dict()},
    )
    with pytest.raises(NotFiniteError, match="stage 1 answers"):
        evaluate(bundle, masks)
    with pytest.raises(NotFiniteError, match="stage 1 answers"):
        label_map(bundle, pixels[0], stage=1)
