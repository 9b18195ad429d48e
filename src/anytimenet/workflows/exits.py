"""Exits for a contract: solved on validation images, checked on test images, and really executed there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anytimenet.bundle import Bundle
from anytimenet.core import checks
from anytimenet.core.errors import CostTableError, DataError
from anytimenet.core.manifest.records import Thresholds
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.core.records import JsonForm, Record
from anytimenet.evaluation import (
    Contract,
    ContractResult,
    ExitSummary,
    Outputs,
    check_contract,
    solve_contract,
)
from anytimenet.evaluation.protocols.exit_data import ExitData, ExitRule, check_rule
from anytimenet.evaluation.protocols.outputs import OutputCost
from anytimenet.evaluation.protocols.solved_exits import threshold_array
from anytimenet.evaluation.text.tables import Column, percent_decimals, plain_table
from anytimenet.evaluation.text.units import format_count
from anytimenet.runtime import LeavingRun, Model, policy_of, simulated_exits
from anytimenet.runtime.backends.preferred import EAGER, measured_backend
from anytimenet.runtime.batches.costs import LEAVING_MODES, LeavingMode
from anytimenet.workflows.on_backend import OF_TORCH, on_backend, placed
from anytimenet.workflows.reading import Reading, settled_device
from anytimenet.workflows.stepped import PlainBatches, stepped_outputs

NEAR = 1e-5
"""How far a score may be from its threshold where another batch size decides otherwise."""

ExitUnit = Literal["macs", "ms"]


@dataclass(frozen=True)
class ExecutedExits(Record):
    """What exits did when a backend really ran them.

    Attributes:
        summary: on the test images.
        backend: what ran them.
        mode: how examples left, one of `runtime.LEAVING_MODES`.
        batch_size: images of a full batch.
        differing: images that left at another stage than was simulated.
        unexplained: those of them whose scores were further than 1e-5 from the thresholds: none, unless
            something is wrong.
        ms_per_image: wall-clock time, one pass, reading images not counted.
        all_steps_ms_per_image: the same of all steps for every image.
    """

    summary: ExitSummary
    backend: str
    mode: str
    batch_size: int
    differing: int
    unexplained: int
    ms_per_image: float
    all_steps_ms_per_image: float
    json_form = JsonForm(what="executed exits")


@dataclass(frozen=True)
class Exits(Record):
    """What `choose_exits` found.

    Attributes:
        result: the exits, what they do on the images that judged them, and on the test images, simulated.
        executed: the same really run; None if the contract is not met.
    """

    result: ContractResult
    executed: ExecutedExits | None = None
    json_form = JsonForm(what="exits", keys=("met", "result", "executed"))

    @property
    def met(self) -> bool:
        """Whether exits were found that keep the contract."""
        return self.result.met

    @property
    def thresholds(self) -> Thresholds | None:
        """For `Bundle.use_exits`; None if the contract is not met."""
        return self.result.thresholds if self.met else None

    def table(self) -> str:
        """Plain aligned text: a line for each set of images."""
        result = self.result
        rows = [("judged on", result.tested_on)]
        if result.held_out is not None:
            rows.append(("test, simulated", result.held_out))
        if self.executed is not None:
            rows.append(("test, executed", self.executed.summary))
        decimals = percent_decimals(max(summary.count for _, summary in rows))
        columns: list[Column] = [
            ("", [name for name, _ in rows]),
            ("images", [str(summary.count) for _, summary in rows]),
            ("mean cost", [_cost(summary.mean_cost, result.cost) for _, summary in rows]),
            ("accuracy %", [f"{100 * summary.accuracy:.{decimals}f}" for _, summary in rows]),
            ("last stage's %", [f"{100 * summary.full_accuracy:.{decimals}f}" for _, summary in rows]),
            ("disagreement %", [f"{100 * summary.disagreement:.{decimals}f}" for _, summary in rows]),
        ]
        for k in range(len(result.stage_costs)):
            columns.append((f"at {k + 1} %", [f"{100 * summary.shares[k]:.1f}" for _, summary in rows]))
        return plain_table(columns)


def choose_exits(
    bundle: Bundle,
    data: Any = None,
    *,
    contract: Contract,
    policy: ExitRule = "max_probability",
    unit: ExitUnit = "macs",
    backend: str | None = None,
    threads: int = 1,
    batch_size: int = 32,
    mode: LeavingMode = "compact",
    seed: int = 0,
    skip_bad: bool = False,
    data_root: Path | str | None = None,
    device: str = "auto",
    workers: int | None = 0,
    trust_paths: bool = False,
) -> Exits:
    """Thresholds of an exit policy that keep a contract, found on validation images and tried on test images.

    Half of the validation images fit temperatures and find candidates, the other half judges them;
    `evaluation.solve_contract` says how. To have the bundle keep them: `bundle.use_exits(found.thresholds)`,
    then `bundle.save`.

    Args:
        bundle: from `fit` or `load`.
        data: data by name or `DataSplits`; by default the data of the training, split in the same way.
        contract: what is to be kept.
        policy: what decides: "max_probability", "margin", "entropy", "patience" or "per_class".
        unit: of costs: multiply-adds, or milliseconds of an image alone by the cost table of this backend.
        backend: what runs the net, as in `profile`; by default what it was profiled with on this machine, the
            native engine first, else eager PyTorch.
        threads: that one segment uses.
        batch_size: images that run together; the last batch may be smaller.
        mode: how images leave a batch when exits are executed: "results", "compact" or "regroup".
        seed: of the division of the validation images.
        skip_bad, data_root, device, workers, trust_paths: as in `evaluate`.

    Raises:
        BackendError: if the backend cannot run here.
        CostTableError: for milliseconds without a cost table.
        DataError: if the data has no validation or test images, or the net gives no label of whole images.
        ValueError: for choices that do not exist.

    >>> from anytimenet import TrainConfig, create_net, fit
    >>> bundle = fit(create_net("resnet_tiny", in_channels=1), "digits", config=TrainConfig(epochs=1))
    >>> found = choose_exits(bundle, contract=Contract("max_mean_cost", 700_000))
    >>> found.met, found.executed.unexplained
    (True, 0)
    """
    reading = Reading(bundle, data, skip_bad, data_root, device, workers, trust_paths)
    checks.instance(contract, Contract, "contract", 'Contract("max_disagreement", 0.01)')
    rule, size = check_rule(policy), checks.whole_number(batch_size, "batch_size", 1)
    checks.choice(unit, "unit", ("macs", "ms"))
    checks.choice(mode, "mode", LEAVING_MODES)
    seed, backend = checks.whole_number(seed, "seed"), checks.optional(backend, "backend", checks.words)
    if bundle.manifest.task_kind not in ("classification", "hierarchical"):
        kind = bundle.manifest.task_kind
        raise DataError(f"exits are for labels of whole images, and this net is for {kind}")
    if not reading.has_parts:
        raise DataError("exits need validation images: give data by name or DataSplits, which have some")
    torch_runs = backend in (None, *OF_TORCH)
    place = placed(backend, settled_device(device) if torch_runs else device, threads, "float32")
    if backend is None:
        backend = measured_backend(bundle.cost_tables, place) or EAGER
    model = on_backend(bundle, backend, place)
    costs = tuple(OutputCost.of(cost) for cost in bundle.stage_costs())
    stage_costs = _stage_costs(bundle, model, costs, unit)
    val, _ = stepped_outputs(model, PlainBatches.of(reading, "val", size), costs)
    cost = "macs_cumulative" if unit == "macs" else "ms"
    result = solve_contract(val, contract, rule, stage_costs=stage_costs, cost=cost, seed=seed)
    batches = PlainBatches.of(reading, "test", size)
    test, all_steps_ms = stepped_outputs(model, batches, costs)
    result = check_contract(result, test)
    if not result.met:
        return Exits(result)
    return Exits(result, execute_exits(model, batches, result, test, mode, all_steps_ms))


def execute_exits(
    model: Model,
    batches: PlainBatches,
    result: ContractResult,
    simulated: Outputs,
    mode: LeavingMode = "compact",
    all_steps_ms: float = 0.0,
) -> ExecutedExits:
    """Runs the exits on images of which all outputs are known, and compares who leaves where.

    Args:
        model: what runs.
        batches: the images.
        result: whose thresholds are used.
        simulated: the outputs of all stages on them.
        mode: how images leave.
        all_steps_ms: what an image took where none left.
    """
    policy, data = policy_of(result.thresholds), _data_of(result, simulated)
    stages, answers = np.zeros(data.count, int), np.zeros(data.count, int)
    run, inputs = LeavingRun(model, policy, mode=mode, batch=batches.size), batches.inputs()
    began = time.perf_counter()
    for answer in run.answers(inputs):
        stages[answer.row], answers[answer.row] = answer.stage, int(answer.output[0].argmax())
    spent = time.perf_counter() - began - inputs.seconds
    expected = simulated_exits(policy, simulated.logits)
    differing = stages != expected
    near = _near(data, simulated, threshold_array(result.thresholds), np.maximum(stages, expected))
    shares = np.bincount(stages - 1, minlength=data.num_stages) / data.count
    summary = ExitSummary(
        count=data.count,
        shares=tuple(shares.tolist()),
        mean_cost=float(np.array(result.stage_costs)[stages - 1].mean()),
        accuracy=float((answers == simulated.labels[:, 0]).mean()),
        disagreement=float((answers != data.answers[-1]).mean()),
        full_accuracy=float(data.right[-1].mean()),
    )
    return ExecutedExits(
        summary=summary,
        backend=model.backend.name,
        mode=mode,
        batch_size=batches.size,
        differing=int(differing.sum()),
        unexplained=int((differing & ~near).sum()),
        ms_per_image=1000 * max(spent, 0.0) / data.count,
        all_steps_ms_per_image=all_steps_ms,
    )


def _data_of(result: ContractResult, outputs: Outputs) -> ExitData:
    temperatures = result.thresholds.about["arguments"].get("temperatures", ())
    return ExitData.of(outputs, check_rule(result.policy), temperatures)


def _near(data: ExitData, outputs: Outputs, thresholds: np.ndarray, until: np.ndarray) -> np.ndarray:
    """Whether a decision of an example was so close that another rounding may change it.

    Args:
        data: scores and answers of the stages.
        outputs: which they are of.
        thresholds: `(stages,)` or `(stages, classes)`.
        until: the last stage of each example that counts.
    """
    table = thresholds.reshape(data.num_stages, -1)
    own = np.take_along_axis(table, data.answers if table.shape[1] > 1 else 0 * data.answers, axis=1)
    close = np.isfinite(own) & (np.abs(data.scores - np.where(np.isfinite(own), own, 0)) <= NEAR)
    for stage, logits in zip(close, outputs.fine(), strict=True):
        if logits.shape[1] > 1:  # two classes that are as likely: the answer itself may change
            second, first = np.partition(logits.astype(np.float64), -2, axis=1)[:, -2:].T
            stage |= first - second <= NEAR * np.maximum(1, np.abs(first))
    counts = np.arange(1, data.num_stages + 1)[:, None] <= until
    found: np.ndarray = (close & counts).any(axis=0)
    return found


def _stage_costs(bundle: Bundle, model: Model, costs: tuple[OutputCost, ...], unit: ExitUnit) -> list[float]:
    """Of an image that leaves at each stage, where every stage up to it was asked."""
    if unit == "macs":
        if bundle.manifest.uncounted_operators:
            raise DataError(
                f"multiply-adds of {', '.join(bundle.manifest.uncounted_operators)} are in no count: say "
                "what a call costs with bundle.count_costs(rules={NAME: MULTIPLY_ADDS}), or take milliseconds"
            )
        return [float(cost.macs_cumulative) for cost in costs]
    table = table_for(bundle.cost_tables, model.backend.name, model.backend.placement)
    if table is None:
        raise CostTableError(
            f"the bundle has no cost table of {model.backend.name} on this machine: measure one with "
            "an.profile(bundle)"
        )
    steps = [table.latency(stage - 1, stage).median_ms for stage in range(1, bundle.num_stages + 1)]
    return list(accumulate(steps))


def _cost(cost: float, unit: str) -> str:
    return f"{cost:.3f} ms" if unit == "ms" else format_count(cost)
