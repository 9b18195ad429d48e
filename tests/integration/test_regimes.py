"""Regimes from the command line to the bundle: what the run, its files and the bundle say of them."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import anytimenet as an
from anytimenet.cli.main import run
from anytimenet.data import Augmentation, DataOptions, load_data

TRAIN = ["train", "digits", "--net", "efficientnet_lite_tiny", "--quiet", "--threads", "1"]
TRAIN += ["--head-epochs", "2", "--limit", "100"]


def test_a_frozen_run_tells_its_regime_everywhere(tmp_path, capsys):
    out = tmp_path / "run"
    assert run([*TRAIN, "--regime", "frozen", "--out", str(out)]) == 0
    assert "was trained for 2 epochs of its heads alone on" in (out / "summary.txt").read_text()
    (record,) = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert (record["epoch"], record["views"], record["features"]) == (0, 4, "in memory")
    provenance = an.load(out / "bundle").manifest.provenance
    assert provenance["config"]["regime"] == "frozen"
    assert provenance["best_epoch"] == 0
    assert json.loads((out / "experiment.json").read_text())["config"]["regime"] == "frozen"


def test_a_net_without_a_backbone_is_refused_in_flags(tmp_path, capsys):
    words = [
        "train",
        "digits",
        "--net",
        "isresnext_tiny",
        "--regime",
        "mixed",
        "--out",
        str(tmp_path / "run"),
    ]
    assert run(words) == 1
    assert "use --regime joint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def tiny_digits():
    return load_data("digits", DataOptions(limit=60))


def test_without_augmentation_every_image_is_read_once(tiny_digits):
    seen = []

    class Told(an.Reporter):
        def note(self, text):
            pass

        def phase(self, what, steps):
            seen.append(what)

        start = step = epoch = stop = lambda self, *_: None

    net = an.create_net("efficientnet_lite_tiny", in_channels=1)
    config = an.TrainConfig(regime="frozen", head_epochs=1)
    bundle = an.fit(net, tiny_digits, config=config, reporter=Told())
    assert bundle.manifest.provenance["config"]["head_views"] == 1
    net = an.create_net("efficientnet_lite_tiny", in_channels=1)
    bundle = an.fit(net, tiny_digits, config=config, augmentation=Augmentation(flip=False, pad=1))
    assert bundle.manifest.provenance["config"]["head_views"] == 4
    assert seen == ["the backbone reads the images", "heads learn alone"]


def test_the_backbone_of_a_wrapped_net_that_is_frozen_stays_and_its_heads_learn(tiny_digits):
    torch.manual_seed(0)
    backbone = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)),
    )
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    net = an.wrap(backbone, ["2"], frozen=True, input_shape=(1, 8, 8))
    head = net.heads[0].state_dict()
    head = {name: tensor.clone() for name, tensor in head.items()}
    with pytest.raises(ValueError, match="use regime='frozen'"):
        an.fit(net, tiny_digits, config=an.TrainConfig(regime="mixed", head_epochs=2))
    an.fit(net, tiny_digits, config=an.TrainConfig(regime="frozen", head_epochs=2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert not all(torch.equal(tensor, head[name]) for name, tensor in net.heads[0].state_dict().items())
