"""Whatever can refuse a run, or the bundle that it ends with, does so before the first step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import anytimenet as an
from anytimenet.cli.main import run as command
from anytimenet.core.errors import BundleError, TrainingError
from anytimenet.costs import UnknownOperatorError, count, stage_costs
from anytimenet.evaluation import budgeted_from_outputs, compare, read_any_report, write_report
from anytimenet.training import Reporter
from anytimenet.workflows import plan

SIDE = 8
DRAWN = np.random.default_rng(0)
PICTURES = [(DRAWN.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8), i % 2) for i in range(24)]
ONE_EPOCH = an.TrainConfig(epochs=1, batch_size=8)


class Fourier(nn.Module):
    """Convolution in the frequency domain."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, SIDE, SIDE // 2 + 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * self.weight)
        return y


class Bicubic(nn.Module):
    """Up and down again."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(F.interpolate(x, scale_factor=2, mode="bicubic"), scale_factor=0.5)


def conv() -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, padding=1)


BLOCKS = {
    "weight_norm": lambda: nn.utils.parametrizations.weight_norm(conv()),
    "spectral_norm": lambda: nn.utils.parametrizations.spectral_norm(conv()),
    "bicubic": Bicubic,
    "fft": Fourier,
}


def by_hand(block: str = "fft") -> an.ExitNet:
    torch.manual_seed(0)
    blocks = [conv(), BLOCKS[block]()]
    return an.ExitNet(conv_in(), blocks, (1, 2), num_classes=2, input_shape=(3, SIDE, SIDE))


def conv_in() -> nn.Conv2d:
    return nn.Conv2d(3, 4, 3, padding=1)


def plain() -> an.AnytimeNet:
    return an.create_net("isresnext_tiny", num_classes=2)


class Steps(Reporter):
    """Counts them."""

    def __init__(self) -> None:
        super().__init__(False)
        self.steps = 0

    def step(self) -> None:
        self.steps += 1


@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_operators_without_a_rule_stop_nothing_and_are_told(
    block: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = an.fit(by_hand(block), PICTURES, PICTURES, ONE_EPOCH)
    told = capsys.readouterr().err
    assert "built by hand" in told
    uncounted = bundle.manifest.uncounted_operators
    assert ("not complete" in told) == bool(uncounted)
    if block == "spectral_norm":  # in evaluation it is products that are counted
        return
    assert uncounted
    assert all(name in told for name in uncounted)
    folder = bundle.save(tmp_path / "bundle")
    again = an.load(folder, net=by_hand(block))
    assert again.manifest.uncounted_operators == uncounted
    assert again.predict(PICTURES[0][0]).label in ("0", "1")
    with pytest.raises(ValueError, match="budget_macs cannot be kept"):
        again.predict(PICTURES[0][0], budget_macs=1e9)


def test_what_is_not_counted_is_marked_in_every_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = an.fit(by_hand(), PICTURES, PICTURES, ONE_EPOCH)
    names = bundle.manifest.uncounted_operators
    assert names == ("aten._fft_c2r", "aten._fft_r2c")
    assert [record.macs_complete for record in bundle.manifest.stages] == [True, False]
    report = an.evaluate(bundle, PICTURES)
    for table in (report.table(), bundle.save(tmp_path / "b").joinpath("README.md").read_text()):
        assert "+ not complete: no rule counts aten._fft_c2r, aten._fft_r2c" in table
    written = report.to_dict()
    assert written["macs_complete"] is False
    assert written["uncounted_operators"] == list(names)
    (tmp_path / "run").mkdir()
    write_report(report, tmp_path / "run")
    assert read_any_report(tmp_path / "run") == report
    assert compare([report], ["it"])[0].uncounted_operators == names
    assert command(["compare", str(tmp_path / "run"), "--out", str(tmp_path / "c.png")]) == 0
    assert "not complete" in capsys.readouterr().out
    assert command(["info", str(tmp_path / "b")]) == 0
    shown = capsys.readouterr().out
    assert "bundle.count_costs(rules=" in shown
    assert "built by hand" in shown
    assert command(["info", str(tmp_path / "b"), "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [stage["macs_complete"] for stage in stages] == [True, False]
    assert stages[0]["macs_step"] == stages[0]["macs"]
    outputs = [an.collect_outputs(bundle, part) for part in (PICTURES[:12], PICTURES[12:])]
    assert budgeted_from_outputs(*outputs, ps=[1.0]).points
    with pytest.raises(ValueError, match="budgets cannot be kept"):
        budgeted_from_outputs(*outputs, budgets=[1e6])


def test_rules_complete_the_counts_and_are_remembered(tmp_path: Path) -> None:
    rules = {"_fft_r2c": 500, "aten._fft_c2r": 0}
    bundle = an.fit(by_hand(), PICTURES, PICTURES, ONE_EPOCH, rules=rules)
    assert bundle.manifest.uncounted_operators == ()
    without = stage_costs(by_hand(), (3, SIDE, SIDE))
    macs = [cost.macs + extra for cost, extra in zip(without, (0, 500), strict=True)]
    assert [record.macs for record in bundle.manifest.stages] == macs
    assert bundle.predict(PICTURES[0][0], budget_macs=macs[0]).stage == 1
    assert an.evaluate(bundle, PICTURES).uncounted_operators == ()
    again = an.load(bundle.save(tmp_path / "b"), net=by_hand())
    assert an.evaluate(again, PICTURES).stages[1].macs == macs[1]
    late = an.fit(by_hand(), PICTURES, PICTURES, ONE_EPOCH)
    assert an.evaluate(late, PICTURES, rules=rules).uncounted_operators == ()
    assert late.manifest.uncounted_operators == ()
    assert late.keep((2,)).stage_costs()[0].macs_complete


@pytest.mark.parametrize(
    ("rules", "error", "cause"),
    [
        ({"aten.x": "free"}, TypeError, "must be a function .* or a number"),
        ({"aten.x": True}, TypeError, "must be a function"),
        ({3: 0}, TypeError, "by the names of operators"),
        ([0], TypeError, "rules must be a mapping"),
        ({"aten.x": -1}, ValueError, "no number of multiply-adds"),
        ({"aten.x": float("nan")}, ValueError, "no number of multiply-adds"),
    ],
)
def test_rules_that_are_none_are_refused(rules: Any, error: type[Exception], cause: str) -> None:
    reporter = Steps()
    with pytest.raises(error, match=cause):
        an.fit(plain(), PICTURES, PICTURES, ONE_EPOCH, rules=rules, reporter=reporter)
    assert reporter.steps == 0


def test_an_operator_of_a_library_without_shapes_is_run_for_real() -> None:
    @torch.library.custom_op("anytimenet_test::turn_over", mutates_args=())
    def turn_over(x: Tensor) -> Tensor:
        return -x

    class Turned(nn.Module):
        built = False

        def forward(self, x: Tensor) -> Tensor:
            return turn_over(x) if self.built else x + 0

    last = Turned()
    net = an.ExitNet(conv_in(), [conv(), last], (1, 2), num_classes=2, input_shape=(3, SIDE, SIDE))
    last.built = True  # an ExitNet looks at the shapes of its blocks without values
    costs = stage_costs(net, (3, SIDE, SIDE))
    assert costs[1].uncounted_operators == ("anytimenet_test.turn_over",)
    assert costs[0].macs == costs[1].macs  # the heads alone differ, and have one size
    with pytest.raises(UnknownOperatorError):
        count(turn_over, torch.ones(1))
    assert count(turn_over, torch.ones(1), rules={"anytimenet_test.turn_over": 7}).macs == 7


class Named(list[Any]):
    classes = ("caf\udce9", "dog")


@pytest.mark.parametrize(
    ("data", "more", "cause"),
    [
        (Named(PICTURES), {}, "class_names"),
        (PICTURES, {"provenance": {"who": object()}}, "provenance"),
        (PICTURES, {"provenance": {"lr": float("nan")}}, "provenance"),
        (PICTURES, {"provenance": {"who": "\ud800"}}, "provenance"),
        (PICTURES, {"provenance": {"long": "x" * 9 * 2**20}}, "would have .* bytes"),
    ],
)
def test_what_no_bundle_could_hold_is_refused(data: Any, more: dict[str, Any], cause: str) -> None:
    reporter = Steps()
    with pytest.raises(ValueError, match=cause):
        an.fit(plain(), data, config=ONE_EPOCH, reporter=reporter, **more)
    assert reporter.steps == 0


class Forgetful(an.ExitNet):
    """Its parts leave out a tensor, so that no shard would hold it."""

    def parts(self) -> Any:
        return super().parts()[:-1]


def test_a_net_that_would_lose_weights_is_refused() -> None:
    net = Forgetful(conv_in(), [conv(), conv()], (1, 2), num_classes=2, input_shape=(3, SIDE, SIDE))
    reporter = Steps()
    with pytest.raises(BundleError, match="do not cover"):
        an.fit(net, PICTURES, config=ONE_EPOCH, reporter=reporter)
    assert reporter.steps == 0


def test_numbers_of_numpy_become_plain_ones() -> None:
    provenance = {"seed": np.int64(3), "deep": [{"share": np.float32(0.5), "yes": np.bool_(True)}]}
    bundle = an.fit(plain(), PICTURES, PICTURES, ONE_EPOCH, provenance=provenance)
    told = bundle.manifest.provenance
    assert (told["seed"], told["deep"]) == (3, [{"share": 0.5, "yes": True}])
    with pytest.raises(ValueError, match="array"):
        an.fit(plain(), PICTURES, config=ONE_EPOCH, provenance={"all": np.zeros(3)})


def test_settings_that_are_no_numbers_are_refused() -> None:
    for value in (float("inf"), float("nan"), -1.0):
        with pytest.raises(ValueError, match="clip_norm"):
            an.TrainConfig(clip_norm=value)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    reporter = Steps()
    with pytest.raises(TrainingError, match="cannot be written"):
        an.fit(plain(), PICTURES, config=ONE_EPOCH, out=tmp_path / "file", reporter=reporter)
    assert reporter.steps == 0


def test_a_run_that_could_not_be_saved_replaces_no_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    for name in ("experiment.json", "log.jsonl", "checkpoints/last.safetensors"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("{}")
    experiment = an.Experiment("digits", "isresnext_tiny", config=ONE_EPOCH)
    (out / "experiment.json").write_text(json.dumps(experiment.to_dict()))

    def refused(*_: object) -> None:
        raise BundleError("no bundle can be made")

    monkeypatch.setattr(plan, "savable", refused)
    before = set(out.rglob("*"))
    with pytest.raises(BundleError, match="no bundle can be made"):
        an.run(experiment, out, overwrite=True, quiet=True)
    assert set(out.rglob("*")) >= before
