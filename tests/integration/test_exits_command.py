"""`anytimenet exits`: a contract on real images, the answer for people and programs, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import anytimenet as an
from anytimenet.cli.main import run
from anytimenet.runtime import policy_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    more = ["--epochs", "2", "--val-fraction", "0.3", "--quiet", "--out", str(out)]
    assert run(["train", "digits", "--net", "isresnext_tiny", *more]) == 0
    return out


def json_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_a_disagreement_is_kept_on_held_out_images_and_by_what_really_ran(trained, capsys):
    found = json_of(
        capsys, "exits", str(trained), "--max-disagreement", "0.1", "--confidence", "0.9", "--save"
    )
    assert found["met"]
    held_out, executed = found["result"]["held_out"], found["executed"]
    assert held_out["count"] == executed["summary"]["count"] == 539
    assert held_out["disagreement"] <= 0.1
    assert held_out["mean_cost"] < found["result"]["stage_costs"][-1]
    assert executed["unexplained"] == 0
    assert executed["summary"]["mean_cost"] == pytest.approx(held_out["mean_cost"], rel=0.01)
    kept = an.load(trained).manifest.thresholds
    assert kept.to_dict() == found["result"]["thresholds"]
    assert policy_of(kept).num_stages == 3
    assert kept.about["contract"] == {"target": "max_disagreement", "limit": 0.1, "confidence": 0.9}


def test_people_read_a_line_on_the_contract_and_a_table(trained, capsys):
    capsys.readouterr()
    stages = [stage.macs_cumulative for stage in an.load(trained).stage_costs()]
    budget = (stages[0] + stages[-1]) / 2
    assert run(["exits", str(trained), "--max-mean-macs", f"{budget}", "--policy", "patience"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("mean cost at most")
    assert ": met\n" in text
    assert "test, executed" in text
    assert "ms an image" in text


def test_what_cannot_be_kept_is_an_answer_and_saves_nothing(trained, capsys):
    before = an.load(trained).manifest.thresholds
    arguments = ["exits", str(trained), "--min-accuracy", "1", "--confidence", "average", "--save"]
    assert run(arguments) == 0
    text = capsys.readouterr().out
    assert "accuracy at least 1, on average: not met" in text
    assert "nothing is kept" in text
    assert an.load(trained).manifest.thresholds == before
    found = json_of(capsys, *arguments)
    assert (found["met"], found["executed"]) == (False, None)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "exactly one of --max-mean-macs"),
        (["--max-mean-macs", "1M", "--min-accuracy", "0.5"], "exactly one of --max-mean-macs"),
        (["--min-accuracy", "1.5"], "fraction from 0 to 1"),
        (["--min-accuracy", "0.5", "--confidence", "1"], "below 1"),
        (["--max-mean-ms", "2"], "anytimenet profile"),
        (["--min-accuracy", "0.5", "--backend", "egaer"], "did you mean 'eager'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(trained, capsys, flags, words):
    capsys.readouterr()
    assert run(["exits", str(trained), *flags]) == 1
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1
