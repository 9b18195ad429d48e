"""Promises of the report: what it computes, its keys, its files, its tables."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from anytimenet.core.answers.probabilities import softmax
from anytimenet.core.errors import DataError, MissingExtraError
from anytimenet.evaluation import (
    Report,
    failure_auroc,
    make_ensemble_report,
    make_report,
    mean_ensemble,
    measure_example_quality,
    read_report,
    write_report,
)
from anytimenet.evaluation.scores.example_quality import example_violations
from anytimenet.evaluation.scores.metrics import (
    expected_calibration_error,
    negative_log_likelihood,
    top_k_accuracy,
    wilson_interval,
)


@dataclass(frozen=True)
class Cost:
    stage: int
    macs: int
    full: int
    params: int


@dataclass(frozen=True)
class Timing:
    median_ms: float
    p99_ms: float
    estimated: bool = False


COSTS = [Cost(k, 10_000 * k, 11_000 * k, 700 * k) for k in (1, 2, 3)]


def logits_of(answers, classes=4):
    """Logits whose argmax are `answers`."""
    return np.eye(classes, dtype=np.float32)[np.asarray(answers)] * 3


def random_stages(count=300, classes=(8, 3), stages=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, c, count) for c in classes], axis=1)
    stages = [[rng.normal(size=(count, c)).astype(np.float32) for c in classes] for _ in range(stages)]
    return stages, labels


def test_every_stage_has_the_scores_of_its_logits():
    stages, labels = random_stages(count=9000)  # more than one block of rows
    report = make_report([levels[0] for levels in stages], labels[:, 0], COSTS)
    for stage, (logits, _) in zip(report.stages, stages, strict=True):
        probabilities = softmax(logits)
        right = probabilities.argmax(1) == labels[:, 0]
        assert stage.top1 == right.mean() == top_k_accuracy(logits, labels[:, 0])
        assert (stage.top1_low, stage.top1_high) == wilson_interval(int(right.sum()), 9000)
        assert stage.top5 == top_k_accuracy(logits, labels[:, 0], k=5)
        assert (stage.top5_low, stage.top5_high) == wilson_interval(round(stage.top5 * 9000), 9000)
        assert stage.ece == pytest.approx(expected_calibration_error(probabilities.max(1), right))
        assert stage.nll == pytest.approx(negative_log_likelihood(logits, labels[:, 0]))


def test_costs_and_latencies_are_taken_over():
    stages, labels = random_stages(classes=(8,))
    report = make_report(stages, labels, COSTS, latencies=[Timing(1, 2), Timing(3, 4, True), None])
    assert [(s.stage, s.macs, s.full, s.params) for s in report.stages] == [
        (c.stage, c.macs, c.full, c.params) for c in COSTS
    ]
    assert [(s.latency_median_ms, s.latency_p99_ms, s.latency_estimated) for s in report.stages] == [
        (1, 2, False),
        (3, 4, True),
        (None, None, False),
    ]


def test_budgets_and_violations_closed_form():
    labels = [0, 1, 2, 3]
    stages = [logits_of(answers) for answers in ([0, 1, 0, 0], [0, 1, 2, 0], [0, 0, 0, 3])]
    report = make_report(stages, np.array(labels), COSTS)
    assert [s.top1 for s in report.stages] == [0.5, 0.75, 0.5]
    assert report.violations == (3,)
    assert report.example_violations == 0.5  # the examples 1 and 2, not 3, which only ever improves
    assert report.budget_range == (10_000, 40_000)
    assert report.area == report.expected_accuracy == pytest.approx((0.5 + 0.75 + 0.5) / 3)
    weights = np.log([2, 3 / 2, 4 / 3]) / np.log(4)
    assert report.area_log == pytest.approx(weights @ [0.5, 0.75, 0.5])
    stated = make_report(stages, np.array(labels), COSTS, budget_range=(5_000, 20_000))
    assert stated.area == pytest.approx(0.5 * 10 / 15)


def test_example_violations_by_brute_force():
    right = np.random.default_rng(3).random((5, 400)) < 0.8
    bad = [any(e[a] and not e[b] for b in range(5) for a in range(b)) for e in right.T]
    assert example_violations(right) == np.mean(bad)
    assert example_violations(right[:1]) == 0
    assert example_violations(np.sort(right, axis=0)) == 0


def test_a_net_whose_later_stage_is_cheaper_has_a_curve_by_cost_and_violations_by_stage():
    costs = [replace(COSTS[0], macs=30), replace(COSTS[1], macs=10), replace(COSTS[2], macs=40)]
    stages = [logits_of(answers) for answers in ([0, 1, 2, 0], [0, 0, 0, 0], [0, 1, 2, 3])]
    report = make_report(stages, np.arange(4), costs)
    assert report.curve().costs == (10, 30, 40)
    assert report.curve().accuracies == (0.25, 0.75, 1.0)
    assert report.violations == (2,)


def test_curve_over_other_costs():
    stages, labels = random_stages(classes=(8,))
    report = make_report(stages, labels, COSTS, latencies=[Timing(2, 3), Timing(1, 3), Timing(5, 9)])
    top1 = [s.top1 for s in report.stages]
    assert report.curve("full", "a net").costs == (11_000, 22_000, 33_000)
    assert report.curve("ms").costs == (1, 2, 5)
    assert report.curve("ms").accuracies == (top1[1], top1[0], top1[2])
    with pytest.raises(ValueError, match="profile the bundle"):
        make_report(stages, labels, COSTS).curve("ms")
    with pytest.raises(ValueError, match="cost 'flops' does not exist"):
        report.curve("flops")


def test_coarser_levels_are_scored_on_their_own_labels():
    stages, labels = random_stages()
    report = make_report(stages, labels, COSTS)
    (level,) = report.levels
    assert (level.level, level.num_classes, report.num_classes) == (2, 3, 8)
    assert [s.top1 for s in level.stages] == [(z.argmax(1) == labels[:, 1]).mean() for _, z in stages]
    assert "level 2 %" in report.table()


def test_per_class_report_on_request():
    labels = np.array([0, 0, 1, 2])
    stages = [logits_of([0, 1, 1, 1], 3), logits_of([0, 0, 1, 2], 3)]
    assert make_report(stages, labels, COSTS[:2]).per_class == ()
    report = make_report(stages, labels, COSTS[:2], per_class=True, class_names=["cat", "dog", "eel"])
    cat, dog, eel = report.per_class[0]
    assert (cat.precision, cat.recall, cat.count, cat.name) == (1.0, 0.5, 2, "cat")
    assert (dog.precision, dog.recall) == (pytest.approx(1 / 3), 1.0)
    assert (eel.precision, eel.recall) == (None, 0.0)
    assert [c.recall for c in report.per_class[1]] == [1, 1, 1]


@pytest.mark.parametrize(
    ("logits", "labels", "costs", "error", "message"),
    [
        ([], np.zeros(4, int), [], DataError, "at least one stage"),
        (
            [np.zeros((4, 3))] * 2,
            np.zeros(4, int),
            COSTS,
            ValueError,
            "3 stage costs for 2 stages",
        ),
        ([np.zeros((4, 3))] * 3, np.zeros(5, int), COSTS, DataError, "for 5 labels"),
        ([np.zeros((4, 3))] * 3, np.zeros((4, 2), int), COSTS, DataError, "1 label levels"),
        ([[np.zeros((4, 3))] * 2] * 3, np.zeros(4, int), COSTS, DataError, "2 label levels"),
        ([np.zeros((0, 3))] * 3, np.zeros(0, int), COSTS, DataError, "at least one example"),
        ([np.zeros((4, 3))] * 2 + [np.zeros((4, 2))], np.zeros(4, int), COSTS, DataError, "different shapes"),
        ([np.zeros((4, 3, 2))] * 3, np.zeros(4, int), COSTS, DataError, "examples, classes"),
        ([np.full((4, 3), np.nan)] * 3, np.zeros(4, int), COSTS, DataError, "not finite"),
        ([np.zeros((4, 3))] * 3, np.full(4, 3), COSTS, DataError, "do not fit 3 classes"),
    ],
)
def test_input_that_does_not_fit_is_refused(logits, labels, costs, error, message):
    with pytest.raises(error, match=message):
        make_report(logits, labels, costs)


def test_a_bad_budget_range_is_refused():
    stages, labels = random_stages(classes=(8,))
    with pytest.raises(ValueError, match="low < high"):
        make_report(stages, labels, COSTS, budget_range=(20, 10))


# --- as JSON, CSV, tables and files ---------------------------------------------------------------


@pytest.fixture
def full_report():
    stages, labels = random_stages()
    timings = [Timing(0.5, 0.75), Timing(1.5, 2.5, True), None]
    return make_report(stages, labels, COSTS, data="made up", split="val", latencies=timings, per_class=True)


def test_json_has_the_documented_keys(full_report):
    values = json.loads(json.dumps(full_report.to_dict(), allow_nan=False))
    assert list(values) == [
        "data", "split", "count", "num_classes", "stages", "budget_unit", "budget_range", "area", "area_log",
        "expected_accuracy", "violations", "example_violations", "levels", "per_class", "example_quality",
        "ensemble", "device", "macs_complete", "uncounted_operators", "latency_from",
    ]  # fmt: skip
    assert list(values["stages"][0]) == [
        "stage", "macs", "full", "params", "top1", "top1_low", "top1_high", "top5", "top5_low", "top5_high",
        "ece", "nll", "failure_auroc", "latency_median_ms", "latency_p99_ms", "latency_estimated",
    ]  # fmt: skip
    assert list(values["levels"][0]) == ["level", "num_classes", "stages"]
    assert list(values["per_class"][0]["classes"][0]) == ["class_id", "name", "precision", "recall", "count"]
    assert values["stages"][2]["latency_p99_ms"] is None
    for name in ("area", "area_log", "expected_accuracy", "example_violations"):
        assert values[name] == getattr(full_report, name)
    bare = make_report([np.zeros((2, 3))], np.array([0, 1]), COSTS[:1]).to_dict()
    assert list(bare) == list(values)
    assert (bare["levels"], bare["per_class"], bare["violations"]) == ([], [], [])


def test_json_round_trip_and_keys_of_others_are_ignored(full_report):
    values = json.loads(json.dumps(full_report.to_dict()))
    assert Report.from_dict(values) == full_report
    assert Report.from_dict({**values, "bundle": "runs/x"}) == full_report


@pytest.mark.parametrize("key", ["stages", "budget_range", "example_violations", "levels"])
def test_from_dict_names_a_missing_key(full_report, key):
    values = full_report.to_dict()
    del values[key]
    with pytest.raises(ValueError, match=f"not a description of a report: the key '{key}'"):
        Report.from_dict(values)


def test_from_dict_refuses_other_things(full_report):
    with pytest.raises(ValueError, match="not a description of a report"):
        Report.from_dict({**full_report.to_dict(), "stages": 3})
    with pytest.raises(ValueError, match="at least one stage"):
        Report.from_dict({**full_report.to_dict(), "stages": []})


def test_a_report_of_the_first_version_still_loads(full_report):
    values = full_report.to_dict()
    for key in ("example_quality", "ensemble", "device"):
        del values[key]
    for stage in [*values["stages"], *values["levels"][0]["stages"]]:
        del stage["failure_auroc"]
    old = Report.from_dict(json.loads(json.dumps(values)))
    assert (old.example_quality, old.ensemble, old.device) == (None, None, None)
    assert [stage.failure_auroc for stage in old.stages] == [None] * 3
    known = replace(full_report.sections, example_quality=None)
    stages = full_report.stages
    assert replace(old, stages=stages, sections=known) == replace(full_report, sections=known)
    assert list(old.to_dict()) == list(full_report.to_dict())
    assert old.curve() == full_report.curve()


def test_failures_and_examples_are_judged_by_the_functions_that_say_so():
    stages, labels = random_stages(classes=(8,))
    report = make_report(stages, labels, COSTS)
    probabilities = np.stack([softmax(z) for (z,) in stages])
    right = probabilities.argmax(2) == labels[:, 0]
    for stage, p, r in zip(report.stages, probabilities, right, strict=True):
        assert stage.failure_auroc == pytest.approx(failure_auroc(p.max(1), r))
    own = probabilities[:, np.arange(300), labels[:, 0]]
    expected = measure_example_quality(own, right)
    assert report.example_quality.drops == expected.drops
    assert report.example_quality.overthinking == expected.overthinking
    assert report.example_quality.probability == pytest.approx(expected.probability)
    perfect = make_report([logits_of([0, 1])], np.array([0, 1]), COSTS[:1])
    assert perfect.stages[0].failure_auroc is None


def test_an_ensemble_is_scored_like_a_net_that_answers_with_it():
    stages, labels = random_stages(classes=(8,))
    logits, costs = (
        [z for (z,) in stages],
        [SimpleNamespace(stage=k, macs_cumulative=9 * k) for k in (1, 2, 3)],
    )
    combined = make_ensemble_report(logits, labels, costs, "mean")
    alone = make_report([np.log(p) for p in mean_ensemble(np.stack(logits))], labels, COSTS)
    for ours, theirs in zip(combined.stages, alone.stages, strict=True):
        for name in ("top1", "top1_low", "top5", "top5_high", "ece", "nll", "failure_auroc"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name))
    assert combined.example_violations == alone.example_violations
    assert combined.curve().costs == (9, 18, 27)
    assert combined.curve().accuracies == tuple(stage.top1 for stage in alone.stages)
    assert len(combined.table().splitlines()) == 4
    report = replace(alone, sections=replace(alone.sections, ensemble=combined))
    assert Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False))) == report


def test_a_product_that_rules_out_the_true_class_has_no_likelihood_and_is_still_strict_json():
    logits = [np.array([[2.0, -1.0], [1.0, 3.0]])]
    costs = [SimpleNamespace(stage=1, macs_cumulative=9)]
    combined = make_ensemble_report(logits, np.array([1, 1]), costs, "product")
    assert combined.stages[0].nll is None
    assert combined.stages[0].top1 == 0.5
    assert combined.example_quality.probability == pytest.approx((0.375,))
    json.dumps(combined.to_dict(), allow_nan=False)
    with pytest.raises(ValueError, match="no ensemble is named"):
        make_ensemble_report(logits, np.array([1, 1]), costs, "sum")
    with pytest.raises(ValueError, match="2 stage costs for the logits of 1 stages"):
        make_ensemble_report(logits, np.array([1, 1]), costs * 2)


def test_csv_has_a_line_a_stage(full_report):
    rows = list(csv.DictReader(io.StringIO(full_report.to_csv())))
    assert [int(row["stage"]) for row in rows] == [1, 2, 3]
    assert [float(row["top1"]) for row in rows] == [s.top1 for s in full_report.stages]
    assert [row["latency_median_ms"] for row in rows] == ["0.5", "1.5", ""]


def test_plain_table_is_aligned_and_shows_the_numbers(full_report):
    lines = full_report.table().splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    stage = full_report.stages[1]
    for cell in (
        "20.00 k",
        "1.400 k",
        f"{100 * stage.top1:.1f}",
        f"[{100 * stage.top1_low:.1f}, {100 * stage.top1_high:.1f}]",
        "~1.50",
        "~2.50",
    ):
        assert cell in lines[2]
    assert lines[3].split()[-2:] == ["-", "-"]


def test_latency_columns_are_left_out_when_nothing_was_profiled():
    stages, labels = random_stages(classes=(8,))
    header = make_report(stages, labels, COSTS).table().splitlines()[0]
    assert "accuracy %" in header
    assert "ms" not in header


def test_rich_table_fits_eighty_columns_and_shows_brackets(full_report):
    from rich.console import Console

    report = replace(full_report, sections=replace(full_report.sections, levels=()))
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(report.rich_table("made up"))
    text = console.file.getvalue()
    for line in report.table().splitlines():
        assert all(cell in text for cell in line.split())


def test_write_report_and_read_it_again(full_report, tmp_path):
    folder = tmp_path / "runs" / "one"
    assert write_report(full_report, folder) == folder
    assert sorted(path.name for path in folder.iterdir()) == ["curve.png", "report.csv", "report.json"]
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "report.csv").read_text() == full_report.to_csv()
    assert read_report(folder) == read_report(folder / "report.json") == full_report


def test_write_report_keeps_what_else_is_in_the_folder(full_report, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_report(full_report, tmp_path)
    write_report(full_report, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 4


def test_without_matplotlib_the_extra_is_named_and_nothing_is_written(full_report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'anytimenet\[train\]'"):
        write_report(full_report, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[]", "no object"), ("{}", "is missing")])
def test_read_report_refuses_other_files(tmp_path, text, message):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_report(tmp_path)


def test_importing_evaluation_brings_neither_torch_nor_matplotlib():
    code = (
        "import sys, anytimenet.evaluation; "
        "print({'torch', 'matplotlib', 'rich', 'sklearn'} & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_nets_are_compared_over_one_budget_range_and_savings_refer_to_the_first():
    from anytimenet.evaluation import compare

    def report(scale: int) -> Report:
        costs = [SimpleNamespace(stage=k, macs=scale * 10 * k, full=scale * 12 * k, params=k) for k in (1, 2)]
        logits = [np.array([[2.0, 1.0], [3.0, 1.0]]), np.array([[2.0, 1.0], [1.0, 3.0]])]
        return make_report(logits, np.array([0, 1]), costs)

    first, cheap = compare([report(2), report(1)], ["first", "cheap"])
    assert (first.saving_max, first.saving_mean) == (None, None)
    assert (cheap.saving_max, cheap.saving_mean, cheap.unreached) == (0.5, 0.5, 0)
    # From 10 to 60: the first net has nothing until 20, a half until 40; the cheap one a half until 20.
    assert first.area == pytest.approx((0.5 * 20 + 20) / 50)
    assert cheap.area == pytest.approx((0.5 * 10 + 40) / 50)
    with pytest.raises(ValueError, match="1 labels for 2 runs"):
        compare([report(1), report(2)], ["one"])
