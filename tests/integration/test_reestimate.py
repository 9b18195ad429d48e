"""`anytimenet reestimate` and `anytimenet.reestimate`: new statistics, a bundle like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import anytimenet as an
import anytimenet.data
from anytimenet.cli.main import run
from anytimenet.core.errors import DataError
from anytimenet.evaluation import read_report

COMMAND = ["train", "digits", "--net", "iresnext_tiny", "--epochs", "5", "--quiet"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shared")
    arguments = ["--net-args", "normalisation=shared", "--seeds", "0,1", "--out", str(out)]
    assert run([*COMMAND, *arguments]) == 0
    return out


def test_shared_statistics_are_taken_apart_and_the_bundle_loads(shared, tmp_path, capsys):
    out = tmp_path / "own"
    capsys.readouterr()
    assert run(["reestimate", str(shared / "seed-0"), "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    old, new = an.load(shared / "seed-0"), an.load(out)
    assert (old.net.normalisation, new.net.normalisation) == ("shared", "own")
    assert new.manifest.provenance["reestimated"] == {"data": "digits", "batches": 5}
    assert new.manifest.provenance["data"] == old.manifest.provenance["data"]
    report = read_report(out)
    assert printed["stages"] == json.loads((out / "report.json").read_text())["stages"]
    assert [s.macs for s in report.stages] == [s.macs for s in read_report(shared / "seed-0").stages]
    # Running statistics of K mixed passes serve no stage; those of its own features do.
    assert report.stages[0].top1 > read_report(shared / "seed-0").stages[0].top1 + 0.1
    assert an.evaluate(new, split="val").stages[0].top1 == new.manifest.stages[0].val_accuracy
    assert run(["evaluate", str(out)]) == 0


def test_images_are_augmented_as_in_training_unless_told_otherwise(shared):
    old = an.load(shared / "seed-0")
    trained = an.data.Augmentation(**old.manifest.provenance["augmentation"])
    assert trained.pad == 1

    def statistics(augmentation) -> torch.Tensor:
        return an.reestimate(old, augmentation=augmentation).net.blocks[0].norms[0].norm1.running_mean

    assert torch.equal(statistics("trained"), statistics(trained))
    assert not torch.equal(statistics("trained"), statistics(None))
    for place in (old.manifest.provenance, old.manifest.provenance["experiment"]):
        del place["augmentation"]
    with pytest.raises(ValueError, match="does not say how its training images were augmented"):
        an.reestimate(old)


def test_the_parameters_are_those_of_the_old_bundle(shared):
    old = an.load(shared / "seed-0")
    before = {k: v.clone() for k, v in old.net.state_dict().items()}
    new = an.reestimate(old, num_batches=2)
    assert all(torch.equal(v, before[k]) for k, v in old.net.state_dict().items())
    assert torch.equal(new.net.blocks[0].conv1.weight, old.net.blocks[0].conv1.weight)
    for norms in new.net.blocks[0].norms:
        width = norms.norm2.num_features
        assert torch.equal(norms.norm2.weight, old.net.blocks[0].norms[0].norm2.weight[:width])
    assert new.manifest.provenance["reestimated"]["batches"] == 2


def test_it_is_deterministic_and_statistics_only_depend_on_parameters(shared):
    one = an.reestimate(an.load(shared / "seed-0"))
    again = an.reestimate(one)
    assert again.net.normalisation == "own"
    for name, value in one.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[name]), name


def test_seeds_are_done_one_by_one_and_compared(shared, tmp_path, capsys):
    out = tmp_path / "own"
    assert run(["reestimate", str(shared), "--out", str(out)]) == 0
    capsys.readouterr()
    figure = str(tmp_path / "f.png")
    assert run(["compare", str(shared), str(out), "--out", figure, "--json"]) == 0
    assert [c["runs"] for c in json.loads(capsys.readouterr().out)["curves"]] == [2, 2]


def test_own_images_and_what_is_refused(shared, tmp_path, capsys):
    bundle = an.load(shared / "seed-0")
    rng = np.random.default_rng(0)
    items = [(rng.integers(0, 255, (8, 8), dtype=np.uint8), i % 10) for i in range(40)]
    assert an.reestimate(bundle, items).manifest.provenance["reestimated"]["data"] == "dataset"
    with pytest.raises(DataError):
        an.reestimate(bundle, items[:1])
    with pytest.raises(TypeError, match="bundle must be Bundle"):
        an.reestimate("here")
    out = tmp_path / "own"
    assert run(["reestimate", str(shared / "seed-0"), "--out", str(out)]) == 0
    before = (out / "bundle" / "bundle.json").read_bytes()
    assert run(["reestimate", str(shared / "seed-0"), "--out", str(out)]) == 1
    assert "holds a bundle already" in capsys.readouterr().err
    assert run(["reestimate", str(out), "--out", str(out), "--overwrite"]) == 1
    assert "the bundle itself" in capsys.readouterr().err
    assert (out / "bundle" / "bundle.json").read_bytes() == before
    assert run(["reestimate", str(shared / "seed-1"), "--out", str(out), "--overwrite"]) == 0
    assert (out / "bundle" / "bundle.json").read_bytes() != before
