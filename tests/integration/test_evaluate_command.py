"""`anytimenet evaluate` and its Python twins: budgeted batch, ensembles, figures, stored outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anytimenet
from anytimenet.cli.main import run
from anytimenet.core.errors import DataError
from anytimenet.evaluation import BudgetedBatch, Report, read_outputs, report_from_outputs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    arguments = ["train", "digits", "--net", "isresnext_tiny", "--epochs", "1", "--quiet", "--out", str(out)]
    assert run(arguments) == 0
    return out


@pytest.fixture(scope="module")
def bundle(trained: Path) -> anytimenet.Bundle:
    return anytimenet.load(trained)


def json_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(arguments) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_the_plain_report_has_the_new_keys_and_no_budgeted_batch(trained, capsys):
    report = json_of(capsys, "evaluate", str(trained), "--json")
    assert report["ensemble"] is None
    assert "budgeted" not in report
    assert {"drops", "overthinking", "drop_histogram", "probability", "envelope"} == set(
        report["example_quality"]
    )
    assert all(0 < stage["failure_auroc"] < 1 for stage in report["stages"])
    assert report["example_quality"]["overthinking"] <= report["example_violations"]


def test_everything_at_once_in_one_run_of_the_net(trained, bundle, tmp_path, capsys):
    budget = bundle_costs(bundle)[1]
    arguments = [
        "evaluate",
        str(trained),
        "--budgeted",
        "--mean-budgets",
        str(budget),
        "--ensemble",
        "product",
    ]
    files = ["--figure", str(tmp_path / "f.pdf"), "--save-outputs", str(tmp_path / "o.safetensors")]
    more = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "e.json")]
    assert run([*arguments, *files, *more]) == 0
    text = capsys.readouterr().out
    assert "budgeted batch by max probability, thresholds from 126 validation images" in text
    assert "stages 1..k combined (product)" in text
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")

    values = json.loads((tmp_path / "e.json").read_text())
    assert json.loads((tmp_path / "out" / "budgeted.json").read_text()) == values["budgeted"]
    assert BudgetedBatch.from_dict(values["budgeted"]) == anytimenet.evaluate_budgeted(
        bundle, budgets=[budget]
    )
    assert values["budgeted"]["for_budgets"][0]["val_mean_cost"] <= budget
    assert len(values["budgeted"]["points"]) == 39
    assert values["budgeted"]["stage_costs"] == bundle_costs(bundle)
    assert values["budgeted"]["stage_accuracies"] == pytest.approx([s["top1"] for s in values["stages"]])
    report = Report.from_dict(values)
    assert report == anytimenet.evaluate(bundle, ensemble="product")
    assert report_from_outputs(read_outputs(tmp_path / "o.safetensors"), ensemble="product") == report


def test_the_thresholds_can_be_solved_again_from_stored_outputs(trained, bundle, tmp_path):
    from anytimenet.evaluation import budgeted_from_outputs

    for split in ("val", "test"):
        path = tmp_path / f"{split}.safetensors"
        assert run(["evaluate", str(trained), "--split", split, "--save-outputs", str(path)]) == 0
    val, test = (read_outputs(tmp_path / f"{split}.safetensors") for split in ("val", "test"))
    assert (val.split, val.count, test.count) == ("val", 126, 539)
    stored = budgeted_from_outputs(val, test, confidence="entropy", cost="msd")
    assert stored == anytimenet.evaluate_budgeted(bundle, confidence="entropy", cost="msd")
    assert stored.stage_costs == tuple(cost.msd for cost in anytimenet.stage_costs(bundle.net, (1, 8, 8)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budgeted", "--split", "val"], "evaluate another --split"),
        (["--mean-budgets", "1e5"], "--mean-budgets needs --budgeted"),
        (
            ["--budgeted", "--mean-budgets", "3"],
            "pays for no prediction, or is no number: stage 1 alone costs 12448",
        ),
        (["--figure", "x.gif"], "no figure can end in '.gif'"),
        (["--save-outputs", "x.npz"], "ends in .safetensors"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_nothing_is_written(
    trained, arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run(["evaluate", str(trained), *arguments]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_python_refuses_data_without_validation_images_and_unknown_choices(bundle):
    dataset = [(np.zeros((8, 8), np.uint8), 1)] * 4
    with pytest.raises(DataError, match="thresholds need validation images"):
        anytimenet.evaluate_budgeted(bundle, dataset)
    for options, message in (
        ({"split": "val"}, "evaluate them on another split"),
        ({"confidence": "maximum"}, "confidence 'maximum' does not exist"),
        ({"cost": "flops"}, "cost 'flops' does not exist"),
    ):
        with pytest.raises(ValueError, match=message):
            anytimenet.evaluate_budgeted(bundle, **options)
    with pytest.raises(ValueError, match="ensemble 'sum' does not exist"):
        anytimenet.evaluate(bundle, ensemble="sum")


def bundle_costs(bundle: anytimenet.Bundle) -> list[int]:
    return [c.macs_cumulative for c in anytimenet.stage_costs(bundle.net, bundle.manifest.input_shape)]
