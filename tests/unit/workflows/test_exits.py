"""Executed exits are simulated exits: on nets of every kind, in every way to leave a batch."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from anytimenet import Contract, choose_exits
from anytimenet.bundle import Bundle
from anytimenet.bundle.backends.eager import EagerBackend
from anytimenet.core.errors import BundleError, CostTableError, DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.core.manifest.records import TaskRecord, Thresholds
from anytimenet.data import DataSplits, ImageSet
from anytimenet.evaluation import ContractResult, Outputs, solve_contract
from anytimenet.evaluation.protocols.exit_data import EXIT_RULES, ExitData, ExitRule
from anytimenet.evaluation.protocols.outputs import OutputCost
from anytimenet.export import export
from anytimenet.nets import create_net
from anytimenet.runtime import ExportedNet, LeavingRun, PreparedModel, policy_of, simulated_exits
from anytimenet.testing.net_under_test import redraw
from anytimenet.workflows.exits import Exits, execute_exits
from anytimenet.workflows.stepped import PlainBatches, stepped_outputs

PREPROCESSING = Preprocessing(8, 8, 3, (0.5,) * 3, (0.25,) * 3)
FAMILIES = ("isresnext_tiny", "msdnet_tiny", "iresnext_tiny", "eann_tiny", "slimmable_tiny")


def images(count: int, seed: int) -> ImageSet:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    labels = random.integers(0, 10, (count, 1))
    return ImageSet(pixels, labels, tuple(f"{seed}-{i}" for i in range(count)))


def bundle_of(name: str) -> Bundle:
    net = create_net(name).eval()
    redraw(net, torch.Generator().manual_seed(0))
    names = [[f"c{i}" for i in range(10)]]
    return Bundle.create(net, class_names=names, preprocessing=PREPROCESSING)


def splits() -> DataSplits:
    train, val, test = (images(count, seed) for count, seed in ((4, 0), (90, 1), (70, 2)))
    names = (tuple(f"c{i}" for i in range(10)),)
    return DataSplits("noise", train, val, test, names, None, PREPROCESSING, "", 0)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundle_of("isresnext_tiny")


def costs_of(bundle: Bundle) -> tuple[OutputCost, ...]:
    """Any that increase."""
    return tuple(OutputCost(k, 10 * k, 12 * k, 3, 10 * k, 12 * k) for k in range(1, bundle.num_stages + 1))


def third_leave(outputs: Outputs, rule: ExitRule) -> ContractResult:
    """Exits at which about a third leaves at each stage: at the very score of an example."""
    found = solve_contract(outputs, Contract("max_mean_cost", 1e12, None), rule)
    temperatures = found.thresholds.about["arguments"].get("temperatures", ())
    scores = np.sort(ExitData.of(outputs, rule, temperatures).scores, axis=1)
    values = (*np.maximum(scores[:-1, 2 * outputs.count // 3], 2 * (rule == "patience")).tolist(), None)
    return replace(found, thresholds=replace(found.thresholds, values=values))


@pytest.mark.parametrize("name", FAMILIES)
def test_executed_exits_are_the_simulated_ones(name):
    bundle = bundle_of(name)
    model = bundle.prepared()
    batches = PlainBatches(images(70, seed=3), PREPROCESSING, 24, 0, "noise", "test")
    outputs, _ = stepped_outputs(model, batches, costs_of(bundle))
    for rule in ("max_probability", "patience"):
        found = third_leave(outputs, rule)
        expected = simulated_exits(policy_of(found.thresholds), outputs.logits)
        assert len(set(expected.tolist())) > (rule != "patience")
        # The same backend, segments and batches: every example, also those at a threshold.
        same = execute_exits(model, batches, found, outputs, "results")
        assert same.differing == 0
        shares = np.bincount(expected - 1, minlength=outputs.num_stages) / outputs.count
        assert same.summary.shares == tuple(shares.tolist())
        answers = np.stack([stage.argmax(axis=1) for stage in outputs.fine()])[expected - 1, np.arange(70)]
        assert same.summary.accuracy == pytest.approx((answers == outputs.labels[:, 0]).mean())
        assert same.summary.disagreement == pytest.approx(
            (answers != outputs.fine()[-1].argmax(axis=1)).mean()
        )
        # Other batches round otherwise, which moves those at a threshold at most.
        for mode in ("compact", "regroup"):
            executed = execute_exits(model, batches, found, outputs, mode)
            assert executed.unexplained == 0
            assert executed.differing <= outputs.num_stages
    alone = PlainBatches(batches.images, PREPROCESSING, 1, 0, "noise", "test")
    assert execute_exits(model, alone, third_leave(outputs, "entropy"), outputs, "compact").unexplained == 0


def test_what_was_simulated_with_another_backend_is_executed_but_at_the_thresholds(tmp_path):
    bundle = bundle_of("isresnext_tiny")
    batches = PlainBatches(images(70, seed=6), PREPROCESSING, 24, 0, "noise", "test")
    outputs, _ = stepped_outputs(bundle.prepared(), batches, costs_of(bundle))
    bundle.use_exits(third_leave(outputs, "margin").thresholds)
    exported = ExportedNet.load(export(bundle, tmp_path / "exported"), backend="onnxruntime")
    plain = PreparedModel(bundle.manifest, EagerBackend(bundle.net, fold=False, channels_last=False))
    for model in (exported, plain):
        own, _ = stepped_outputs(model, batches, costs_of(bundle))
        for rule in ("margin", "patience"):
            found = third_leave(outputs, rule)
            assert execute_exits(model, batches, found, outputs, "compact").unexplained == 0
            assert execute_exits(model, batches, found, own, "results").differing == 0
    # And predict decides by what the bundle keeps, also where it was exported to.
    expected = simulated_exits(policy_of(bundle.manifest.thresholds), outputs.logits)
    x = np.concatenate(list(batches.inputs()))
    for answers in (
        bundle.predict_many(x, batch_size=24),
        exported.predictor().predict_many(x, batch_size=24),
    ):
        stages = np.array([answer.stage for answer in answers])
        assert (stages != expected).sum() <= outputs.num_stages
    assert bundle.predict(x[:1], stage=3).stage == 3


def test_exits_are_executed_by_a_backend_that_runs_files(bundle):
    contract = Contract("max_mean_cost", 1e12, None)
    found = choose_exits(bundle, splits(), contract=contract, backend="onnxruntime")
    assert (found.executed.backend, found.executed.unexplained) == ("onnxruntime", 0)


def test_an_image_that_leaves_elsewhere_for_no_reason_is_told(bundle):
    model = bundle.prepared()
    batches = PlainBatches(images(40, seed=4), PREPROCESSING, 40, 0, "noise", "test")
    outputs, _ = stepped_outputs(model, batches, costs_of(bundle))
    found = third_leave(outputs, "margin")
    other = replace(outputs, logits=tuple((stage[::-1].copy(),) for stage in outputs.fine()))
    executed = execute_exits(model, batches, found, other, "compact")
    assert executed.differing >= executed.unexplained > 5


def test_outputs_by_steps_are_those_of_the_net(bundle):
    batches = PlainBatches(images(20, seed=5), PREPROCESSING, 8, 0, "noise", "val")
    outputs, ms_per_image = stepped_outputs(bundle.prepared(), batches, costs_of(bundle))
    x = np.concatenate([x for x, _ in batches])
    with torch.no_grad():
        told = bundle.net(torch.from_numpy(x))
    for stage, output in zip(outputs.fine(), told, strict=True):
        assert np.abs(stage - output[0].numpy()).max() <= 1e-5 * np.abs(stage).max()
    assert outputs.labels.tolist() == batches.images.labels.tolist()
    assert (outputs.data, outputs.split, ms_per_image > 0) == ("noise", "val", True)


@pytest.mark.parametrize("rule", EXIT_RULES)
def test_a_bundle_keeps_what_was_chosen_and_decides_by_it(bundle, rule, tmp_path):
    found = choose_exits(bundle, splits(), contract=Contract("max_mean_cost", 1e12, None), policy=rule)
    assert found.met
    assert found.executed.unexplained == 0
    assert (found.result.tested_on.count, found.result.held_out.count) == (45, 70)
    assert found.table().count("\n") == 3
    bundle.use_exits(found.thresholds)
    loaded = Bundle.load(bundle.save(tmp_path / "bundle"))
    card = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert '"target": "max_mean_cost"' in card.partition("## Early exits")[2].partition("## Data")[0]
    assert loaded.manifest.thresholds == found.thresholds
    run = LeavingRun(loaded, policy_of(loaded.manifest.thresholds), mode="results", batch=32)
    batches = PlainBatches(splits().test, PREPROCESSING, 32, 0, "noise", "test")
    stages = np.array([answer.stage for answer in sorted(run.answers(batches.inputs()), key=lambda a: a.row)])
    shares = np.bincount(stages - 1, minlength=loaded.num_stages) / 70
    assert shares == pytest.approx(found.result.held_out.shares)
    assert Exits.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_contract_that_is_not_met_is_not_executed_and_gives_no_thresholds(bundle):
    found = choose_exits(bundle, splits(), contract=Contract("min_accuracy", 0.99))
    assert (found.met, found.thresholds, found.executed) == (False, None, None)
    assert found.result.holds_out is False
    assert found.result.why


def test_milliseconds_come_from_the_table_of_this_backend_here():
    bundle = bundle_of("isresnext_tiny")
    contract = Contract("max_mean_cost", 2.5, None)
    with pytest.raises(CostTableError, match="profile"):
        choose_exits(bundle, splits(), contract=contract, unit="ms")
    entries = {(k - 1, k, 1): Latency(float(k), 9.0, 9.0, repeats=50) for k in (1, 2, 3)}
    bundle.add_cost_table(CostTable("cpu", machine_stamp(), "float32", 1, (3, 8, 8), entries))
    found = choose_exits(bundle, splits(), contract=contract, unit="ms", device="cpu")
    assert found.result.stage_costs == (1.0, 3.0, 6.0)
    assert found.result.cost == "ms"
    assert "ms" in found.table()


def test_what_cannot_be_chosen_for_is_refused_with_a_cure(bundle):
    contract = Contract("max_disagreement", 0.1)
    with pytest.raises(DataError, match="DataSplits"):
        choose_exits(bundle, splits().test, contract=contract)
    with pytest.raises(ValueError, match="did you mean 'margin'"):
        choose_exits(bundle, splits(), contract=contract, policy="margn")
    with pytest.raises(TypeError, match="contract"):
        choose_exits(bundle, splits(), contract=0.1)
    other = bundle_of("isresnext_tiny")
    other.manifest = replace(other.manifest, task=TaskRecord("counting", decoding="own"))
    with pytest.raises(DataError, match="for counting"):
        choose_exits(other, splits(), contract=contract)
    with pytest.raises(BundleError, match="2 values for 3 stages"):
        bundle.use_exits(Thresholds("margin", (0.5, None)))
    with pytest.raises(BundleError, match="did you mean 'margin'"):
        bundle.use_exits(Thresholds("margn", (0.5, None, None)))
