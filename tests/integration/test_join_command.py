"""`anytimenet join` and `anytimenet.join_bundles`: several bundles as one, its run and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import anytimenet as an
from anytimenet.cli.join import run_table
from anytimenet.cli.main import run
from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.costs import stage_costs
from anytimenet.evaluation import make_segmentation_report, path_curve, read_report

CHEAP, DEAR = "cheap", "dear"
NETS = {CHEAP: ("resnet_ann_tiny", ["width=4"]), DEAR: ("resnet_ann_tiny", ["width=6", "stack=2"])}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on the same data, each with 3 or 2 stages."""
    folder = tmp_path_factory.mktemp("members")
    for name, (net, arguments) in NETS.items():
        words = ["train", "digits", "--net", net, "--epochs", "3", "--quiet", "--net-args", *arguments]
        assert run([*words, "--out", str(folder / name)]) == 0
    return folder


@pytest.fixture
def bundles(trained: Path) -> list[an.Bundle]:
    return [an.load(trained / name) for name in (CHEAP, DEAR)]


def test_a_joined_bundle_is_judged_saved_and_like_any_other(trained, tmp_path, capsys):
    out = tmp_path / "joined"
    capsys.readouterr()
    command = ["join", str(trained / CHEAP), str(trained / DEAR / "bundle"), "--out", str(out)]
    assert run([*command, "--json", str(tmp_path / "result.json")]) == 0
    text = capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    joined = an.load(out)
    assert isinstance(joined.net, an.EANN)
    report = read_report(out)
    assert [s.top1 for s in report.stages] == [
        s.top1 for name in (CHEAP, DEAR) for s in read_report(trained / name).stages
    ]
    assert result["stages"] == json.loads((out / "report.json").read_text())["stages"]

    costs = stage_costs(joined.net, (1, 8, 8))
    assert [p["spent"] for p in result["run"]] == [c.macs_cumulative for c in costs]
    validated = [record.val_accuracy for record in joined.manifest.stages]
    for point in result["run"]:
        finished = validated[: point["stage"]]
        assert point["answer"] == finished.index(max(finished)) + 1
        assert point["accuracy"] == report.stages[point["answer"] - 1].top1
    rows = [line.split() for line in text.splitlines() if " k " in line]
    assert [row[2] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row[4] for row in rows] == [str(p["answer"]) for p in result["run"]]
    assert [row[5] for row in rows] == [f"{100 - 100 * p['accuracy']:.1f}" for p in result["run"]]
    assert (out / "curve.png").read_bytes() == (out / "bundle" / "curve.png").read_bytes()
    assert run(["evaluate", str(out)]) == 0
    assert run(["join", str(trained / CHEAP), str(out), "--out", str(tmp_path / "more"), "--json"]) == 0


def test_what_is_known_of_the_members_is_carried_over(bundles):
    joined = an.join_bundles(bundles)
    records = [record for bundle in bundles for record in bundle.manifest.stages]
    assert [(r.val_accuracy, r.macs, r.full, r.params) for r in joined.manifest.stages] == [
        (r.val_accuracy, r.macs, r.full, r.params) for r in records
    ]
    told = joined.manifest.provenance
    assert [member["net"] for member in told["joined"]] == ["resnet_ann_tiny"] * 2
    assert told["data"] == bundles[0].manifest.provenance["data"]
    assert told["joined"][1]["config"] == bundles[1].manifest.provenance["config"]
    counted = stage_costs(joined.net, joined.manifest.input_shape)
    assert [(c.macs, c.full, c.params) for c in counted] == [(r.macs, r.full, r.params) for r in records]


def test_predictions_are_the_members_and_weights_are_copies(bundles):
    joined = an.join_bundles(bundles)
    image = torch.rand(1, 8, 8)
    for stage, (bundle, own) in enumerate([(bundles[0], 1), (bundles[0], 2), (bundles[0], 3),
                                           (bundles[1], 1), (bundles[1], 2)], 1):  # fmt: skip
        ours = joined.predict(image, stage=stage).level_probabilities[0]
        theirs = bundle.predict(image, stage=own).level_probabilities[0]
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    memory = {p.data_ptr() for bundle in bundles for p in bundle.net.parameters()}
    assert not any(p.data_ptr() in memory for p in joined.net.parameters())
    assert not joined.net.training


def told_of_data(bundle: an.Bundle, options: dict[str, Any] | None = None, **changes: Any) -> an.Bundle:
    """The bundle as if it had been trained on other data, or on the same with other `options`."""
    data = bundle.manifest.provenance["data"]
    data = {**data, "options": {**data["options"], **(options or {})}, **changes}
    provenance = {**bundle.manifest.provenance, "data": data}
    return an.Bundle(bundle.net, replace(bundle.manifest, provenance=provenance, files={}))


def test_a_joined_bundle_is_cut_and_loaded_by_its_first_stages(bundles, tmp_path):
    joined = an.join_bundles(bundles)
    joined.save(tmp_path / "joined")
    x = torch.rand(2, 1, 8, 8)
    whole = joined.net(x)
    for stages in (2, 4):
        few = an.load(tmp_path / "joined", stages=stages)
        assert len(few.net.members) == (1 if stages == 2 else 2)
        torch.testing.assert_close(few.net(x), whole[:stages])
        assert few.manifest.stages == joined.manifest.stages[:stages]
    kept = joined.keep((1, 3, 5))
    kept.save(tmp_path / "kept")
    again = an.load(tmp_path / "kept")
    torch.testing.assert_close(again.net(x), whole[::2])
    assert [r.val_accuracy for r in again.manifest.stages] == [
        joined.manifest.stages[stage - 1].val_accuracy for stage in (1, 3, 5)
    ]
    assert an.evaluate(again).count == 539


def test_members_that_were_validated_on_other_images_are_refused(bundles, trained, tmp_path, capsys):
    cheap, dear = bundles
    for changes, message in (
        ({"seed": 1}, "with seed 1 and bundle 1 .* with seed 0, which set aside .* with one seed="),
        ({"val_fraction": 0.2}, "with val_fraction 0.2 and bundle 1 .* with one val_fraction="),
        (
            {"seed": 1, "split_seed": 2, "limit": 9},
            r"with seed 1 and split_seed 2 and bundle 1 .* one DataOp",
        ),
    ):
        other = told_of_data(dear, changes, fingerprint="another")
        # Another seed gives digits another mean, too: the cause is what is told.
        look = replace(other.manifest.preprocessing, mean=(0.1,))
        other = an.Bundle(other.net, replace(other.manifest, preprocessing=look))
        with pytest.raises(ValueError, match=r"bundle 2 \(resnet_ann_tiny\) was trained " + message):
            an.join_bundles([cheap, other])
        with pytest.raises(ValueError, match=r"^bundle 3 .* and bundle 2 .* other validation images"):
            an.join_bundles([told_of_data(cheap, name="folder:here", fingerprint="x"), dear, other])
    with pytest.raises(ValueError, match="images or labels of digits have changed between the trainings of"):
        an.join_bundles([cheap, told_of_data(dear, fingerprint="another")])
    told_of_data(dear, {"seed": 1}, fingerprint="another").save(tmp_path / "seed-1")
    assert run(["join", str(trained / CHEAP), str(tmp_path / "seed-1"), "--out", str(tmp_path / "out")]) == 1
    assert "train all members with one train --seed" in capsys.readouterr().err


def test_members_may_have_learnt_from_other_parts_of_the_training_images(bundles):
    cheap, dear = bundles
    part = told_of_data(dear, {"limit": 300, "standardise": "data"}, fingerprint="another")
    for members in ([cheap, part], [told_of_data(cheap, {"limit": 9}, fingerprint="third"), part]):
        joined = an.join_bundles(members)
        data = joined.manifest.provenance["data"]
        assert (data["name"], data["fingerprint"], data["options"]["limit"]) == ("digits", None, None)
        assert an.evaluate(joined).count == 539
    # The same images by other words are the same.
    same = an.join_bundles([cheap, told_of_data(dear, {"image_size": 8}, name="folder:elsewhere")])
    assert same.manifest.provenance["data"] == cheap.manifest.provenance["data"]


def test_members_of_different_data_need_data_to_be_judged_on(bundles, trained, tmp_path, capsys):
    other = told_of_data(bundles[1], name="folder:here", fingerprint="another")
    joined = an.join_bundles(iter([bundles[0], other]))
    assert "data" not in joined.manifest.provenance
    for ask in (an.evaluate, an.reestimate):
        with pytest.raises(DataError, match="its members were trained on different data: name one"):
            ask(joined)
    assert an.evaluate(joined, "digits").count == 539
    other.save(tmp_path / "other")
    command = ["join", str(trained / CHEAP), str(tmp_path / "other"), "--out", str(tmp_path / "out")]
    assert run(command) == 1
    assert "name one to evaluate on with --data" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run([*command, "--data", "digits"]) == 0


def test_bundles_that_do_not_belong_together_are_refused(bundles):
    cheap, dear = bundles
    m = dear.manifest
    names = (tuple("abcdefghij"),)
    for other, message in (
        (replace(m, class_names=names), r"bundle 2 \(resnet_ann_tiny\) has other classes than bundle 1"),
        (
            replace(m, preprocessing=replace(m.preprocessing, mean=(0.1,))),
            r"differently \(mean; mean is \[0.1",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            an.join_bundles([cheap, an.Bundle(dear.net, replace(other, files={}))])
    masks = MaskClasses(m.class_names[0], tuple(range(10)), ((0, 0, 0),) * 10).to_dict()
    masked = an.Bundle(dear.net, replace(m, provenance={**m.provenance, "masks": masks}, files={}))
    with pytest.raises(ValueError, match="has other mask classes than bundle 1"):
        an.join_bundles([cheap, masked])
    with pytest.raises(ValueError, match=r"do not grow .*bundle 1 .* k, bundle 2 .* k multiply-adds"):
        an.join_bundles([dear, cheap])
    with pytest.raises(ValueError, match="do not grow"):
        an.join_bundles([cheap, cheap])
    for few in ([cheap], cheap, None, 3, "here", iter([cheap]), []):
        with pytest.raises(ValueError, match="two bundles or more"):
            an.join_bundles(few)
    with pytest.raises(TypeError, match="each of bundles must be Bundle"):
        an.join_bundles([cheap, 3])


def test_coarser_classes_must_hang_together_alike():
    look = Preprocessing(8, 8, 3, mean=(0.5,) * 3, std=(0.5,) * 3)

    def with_parents(width: int, parents: str) -> an.Bundle:
        tree = Taxonomy.from_mapping("abcd", dict(zip("abcd", parents, strict=True)))
        net = an.create_net("resnet_tiny", (4, 2), width=width)
        return an.Bundle.create(net, class_names=tree.levels, taxonomy=tree, preprocessing=look)

    with pytest.raises(ValueError, match="has other taxonomy than bundle 1"):
        an.join_bundles([with_parents(2, "xxyy"), with_parents(4, "xyxy")])
    joined = an.join_bundles([with_parents(2, "xxyy"), with_parents(4, "xxyy")])
    assert joined.manifest.taxonomy.parents == ((0,), (0,), (1,), (1,))


@pytest.mark.parametrize("verb", ["join", "reestimate"])
def test_a_bundle_is_no_folder_of_a_run(verb, trained, bundles, tmp_path, capsys):
    bundles[0].save(tmp_path / "bundle")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    given = [str(trained / CHEAP), str(trained / DEAR)][: 2 if verb == "join" else 1]
    for more in ([], ["--overwrite"]):
        assert run([verb, *given, "--out", str(tmp_path / "bundle"), *more]) == 1
        assert "--out is a bundle itself" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_nothing_is_replaced_unasked(trained, tmp_path, capsys):
    out, members = tmp_path / "joined", [str(trained / CHEAP), str(trained / DEAR)]
    for first in (members[0], str(trained / CHEAP / "bundle")):
        assert run(["join", first, members[1], "--out", members[0], "--overwrite"]) == 1
        assert "one of the bundles" in capsys.readouterr().err
    assert run(["join", *members, "--out", str(out)]) == 0
    before = (out / "bundle" / "bundle.json").read_bytes()
    assert run(["join", *members, "--out", str(out)]) == 1
    assert "holds a bundle already" in capsys.readouterr().err
    assert (out / "bundle" / "bundle.json").read_bytes() == before
    assert run(["join", *members, "--out", str(out), "--overwrite"]) == 0
    assert run(["join", members[0], str(tmp_path / "none"), "--out", str(tmp_path / "x")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_the_run_of_a_net_that_labels_pixels_is_told_in_mean_iou():
    costs = [SimpleNamespace(stage=k, macs=1000 * k, full=k, params=k) for k in (1, 2)]
    right, wrong = np.diag([3, 5]), np.array([[3, 1], [0, 4]])
    report = make_segmentation_report([right, wrong], costs, ("road", "sky"), count=1)
    assert report.values == [1.0, 0.775]
    table = run_table(path_curve([(0, 1), (1, 2)], (1000, 2000), report.values, (0.9, 0.8)), report)
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["1.000", "k", "1", "100.0", "1", "100.0"],
        ["3.000", "k", "2", "77.5", "1", "100.0"],
    ]
    assert table.splitlines()[0].split("  ")[-1] == "mean IoU %"
