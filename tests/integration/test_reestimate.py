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
from anytimenet.data import augmentation_from
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
    assert new.manifest.provenance["reestimated"] == {"data": "digits", "batches": 5, "device": "cpu"}
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
    trained = augmentation_from(old.manifest.provenance["augmentation"])
    assert isinstance(trained, an.Augmentation)
    assert trained.pad == 1

    def statistics(augmentation) -> torch.Tensor:
        return an.reestimate(old, augmentation=augmentation).net.get_buffer(
            "blocks.0.norms.0.norm1.running_mean"
        )

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


def test_a_net_that_tracks_no_statistics_trains_predicts_and_is_estimated_again(tmp_path, capsys):
    words = ["train", "digits", "--net", "universally_slimmable_tiny", "--scheme", "slimmable", "--quiet"]
    options = ["--epochs", "3", "--statistics-batches", "2", "--out", str(tmp_path / "run")]
    assert run([*words, *options]) == 0, capsys.readouterr().err
    assert run(["reestimate", str(tmp_path / "run"), "--out", str(tmp_path / "all")]) == 0
    assert run(["evaluate", str(tmp_path / "all")]) == 0
    few, every = an.load(tmp_path / "run"), an.load(tmp_path / "all")
    counts = [{int(m.counter) for m in b.net.modules() if hasattr(m, "counter")} for b in (few, every)]
    assert counts == [{2}, {every.manifest.provenance["reestimated"]["batches"]}]
    assert dict(few.net.named_parameters()).keys() == dict(every.net.named_parameters()).keys()
    image = an.load_data("digits").test.images[0]
    assert few.keep((1, 3)).predict(image, stage=2).stage == 2


def test_a_bundle_without_statistics_says_how_to_get_them(tmp_path, capsys):
    net = an.create_net("universally_slimmable_tiny", in_channels=1)
    digits = an.load_data("digits")
    bundle = an.Bundle.create(net, class_names=digits.class_names, preprocessing=digits.preprocessing)
    bundle.save(tmp_path / "bundle")
    for words in (["evaluate", "--data", "digits"], ["profile"]):
        assert run([words[0], str(tmp_path / "bundle"), *words[1:]]) == 1
        said = capsys.readouterr().err
        assert "anytimenet reestimate BUNDLE --out FOLDER" in said
        assert said.count("\n") == 1
    assert an.reestimate(an.load(tmp_path / "bundle"), "digits", augmentation=None).net.training is False


def test_norms_that_members_share_between_their_stages_are_taken_apart(tmp_path):
    config = an.TrainConfig(epochs=1, device="cpu")
    shared = an.create_net("iresnext_tiny", in_channels=1, normalisation="shared")
    bundle = an.fit(an.EANN([an.create_net("resnet_tiny", in_channels=1), shared]), "digits", config=config)
    fresh = an.reestimate(bundle)
    assert [getattr(member, "normalisation", None) for member in fresh.net.members] == [None, "own"]
    fresh.save(tmp_path / "b")
    assert an.load(tmp_path / "b").net.members[1].normalisation == "own"
