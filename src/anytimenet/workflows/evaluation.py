"""A bundle on some data, from one pass of its net over each split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import torch

from anytimenet.bundle import Bundle
from anytimenet.core.answers.confidence import Confidence
from anytimenet.core.answers.level_selection import Fallback, LevelSelection, check_target, select_levels
from anytimenet.core.checks import SPLITS, choice, flag, numbers, optional, words
from anytimenet.core.errors import CostTableError, DataError
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.machine import machine_stamp, same_machine
from anytimenet.core.uncounted import uncounted_in
from anytimenet.costs import Rules, StageCost
from anytimenet.evaluation import (
    BudgetedBatch,
    ChosenLevels,
    Outputs,
    Report,
    budgeted_from_outputs,
    evaluate_selection,
    level_accuracies,
    make_segmentation_report,
    report_from_outputs,
)
from anytimenet.evaluation.protocols.budgeted_batch import MSDNET_PS, ExitCost
from anytimenet.evaluation.protocols.outputs import OutputCost
from anytimenet.evaluation.reports.stages import default_range, make_stages
from anytimenet.evaluation.scores.ensembles import Ensemble
from anytimenet.nets.contract import AnytimeNet
from anytimenet.runtime.backends.preferred import EAGER, NATIVE
from anytimenet.tasks import Classification, Meter, SegmentationMeter, Task, task_named
from anytimenet.training import Batches, collect_logits
from anytimenet.training.validation import answers
from anytimenet.workflows.images import images_for, plain_loader
from anytimenet.workflows.reading import Reading, Split, settled_device

Found = TypeVar("Found")


class Evaluation:
    """A bundle on some data: whatever is asked for, the net runs once over each split.

    A report, a budgeted batch and a choice of label levels follow from the outputs of all stages, which are
    kept. Arguments and errors of the methods are those of `evaluate`, `evaluate_budgeted`, `evaluate_levels`.

    Args:
        reading: the bundle and its data.
        rules: what operators cost that the counter does not know; the bundle remembers them.
        costs: of the stages, where they were counted just now; counted if not given.

    >>> from anytimenet import TrainConfig, create_net, fit
    >>> bundle = fit(create_net("resnet_tiny", in_channels=1), "digits", config=TrainConfig(epochs=1))
    >>> evaluation = Evaluation(Reading(bundle, "digits"))
    >>> evaluation.report().count, len(evaluation.budgeted().points)
    (539, 39)
    """

    def __init__(
        self, reading: Reading, rules: Rules | None = None, *, costs: Sequence[StageCost] | None = None
    ) -> None:
        self.bundle, self._reading, self._rules, self._given = reading.bundle, reading, rules, costs
        self._outputs: dict[str, Outputs] = {}

    @property
    def keeps_outputs(self) -> bool:
        """Whether the net gives labels of whole images; other outputs are too many, and only scored."""
        return isinstance(self._task, Classification)

    @property
    def _task(self) -> Task:
        return task_named(self.bundle.manifest.task_kind, self.bundle.net.num_classes)

    def outputs(self, split: Split = "test") -> Outputs:
        """The logits of every stage on a split, with labels and costs."""
        choice(split, "split", SPLITS)
        if not self.keeps_outputs:
            raise ValueError(f"{self._answers}, and its outputs are too many to keep: use evaluate")
        if split not in self._outputs:
            (logits, labels), where = self._run(split, collect_logits)
            self._outputs[split] = Outputs(
                logits=tuple(tuple(stage) for stage in logits),
                labels=labels,
                costs=tuple(OutputCost.of(cost) for cost in self._costs()),
                class_names=tuple(self.bundle.manifest.class_names[0]),
                **where,
            )
        return self._outputs[split]

    def report(
        self,
        split: Split = "test",
        *,
        per_class: bool = False,
        ensemble: Ensemble | None = None,
        backend: str | None = None,
    ) -> Report:
        """The scores of every stage on a split."""
        choice(split, "split", SPLITS)
        flag(per_class, "per_class")
        optional(ensemble, "ensemble", choice, get_args(Ensemble))
        optional(backend, "backend", words)
        table = table_here(self.bundle, backend)
        latencies = None if table is None else _latencies(table, self.bundle.num_stages)
        report = self._scored(split, per_class, ensemble, latencies)
        return report if table is None else replace(report, latency_from=table.key)

    def _scored(
        self, split: Split, per_class: bool, ensemble: Ensemble | None, latencies: list[Latency] | None
    ) -> Report:
        if self.keeps_outputs:
            outputs = self.outputs(split)
            return report_from_outputs(outputs, per_class=per_class, ensemble=ensemble, latencies=latencies)
        if ensemble is not None:
            raise ValueError(f"an ensemble combines labels of whole images, and {self._answers}")
        task = self._task
        (meter, count), where = self._run(split, partial(measured, task))
        stages, costs = range(1, self.bundle.num_stages + 1), self._costs()
        if isinstance(meter, SegmentationMeter):
            counts, names = [meter.confusion(stage) for stage in stages], self.bundle.manifest.class_names[0]
            return make_segmentation_report(counts, costs, names, count=count, latencies=latencies, **where)
        told = make_stages([meter.stage_scores(stage) for stage in stages], costs, latencies)
        return Report(
            task=task.kind,
            count=count,
            stages=told,
            budget_range=default_range(told),
            specs=task.scores,
            uncounted_operators=uncounted_in(costs),
            **where,
        )

    def _costs(self) -> Sequence[StageCost]:
        return self.bundle.stage_costs() if self._given is None else self._given

    @property
    def _answers(self) -> str:
        kind = self.bundle.manifest.task_kind
        return "this is a segmentation net" if kind == "segmentation" else f"the task of this net is {kind}"

    def budgeted(
        self,
        split: Literal["train", "test"] = "test",
        *,
        confidence: Confidence = "max_probability",
        cost: ExitCost = "macs_cumulative",
        ps: Sequence[float] = MSDNET_PS,
        budgets: Sequence[float] = (),
    ) -> BudgetedBatch:
        """Images that share one budget, with thresholds that are solved on the validation images."""
        choice(confidence, "confidence", get_args(Confidence))
        choice(cost, "cost", get_args(ExitCost))
        ps = numbers(ps, "ps", above=0)
        budgets = numbers(budgets, "budgets", above=0)
        check_not_val(split, "thresholds are solved")
        if not self._reading.has_parts:
            raise DataError(
                "thresholds need validation images: give data by name or DataSplits, which have some, or use "
                "collect_outputs on two datasets and evaluation.budgeted_from_outputs"
            )
        val, outputs = self.outputs("val"), self.outputs(split)
        return budgeted_from_outputs(val, outputs, confidence=confidence, cost=cost, ps=ps, budgets=budgets)

    def select_levels(
        self,
        *,
        target_accuracy: float | Literal["full"] | None = None,
        tolerance: float = 0.0,
        fallback: Fallback = "coarsest",
    ) -> LevelSelection:
        """The label level of each stage that holds an accuracy on the validation images."""
        manifest = self.bundle.manifest
        if len(manifest.class_names) < 2:
            raise DataError(
                "this bundle predicts one label level, so there is none to choose: train it with "
                "DataOptions(taxonomy=FILE)"
            )
        target = None if isinstance(target_accuracy, str) and target_accuracy == "full" else target_accuracy
        check_target(target, tolerance, fallback)
        accuracies = manifest.level_accuracies
        if accuracies is None:
            if not self._reading.has_parts:
                raise DataError(
                    "the bundle does not know how right it is on each label level, and a dataset has no "
                    "validation part: give data by name or DataSplits"
                )
            outputs = self.outputs("val")
            accuracies = level_accuracies(outputs.logits, outputs.labels)
        return select_levels(accuracies, target, tolerance=tolerance, fallback=fallback)

    def levels(self, selection: LevelSelection, split: Literal["train", "test"] = "test") -> ChosenLevels:
        """How right each stage is on the level that was chosen for it."""
        check_not_val(split, "levels are chosen")
        return evaluate_selection(self.outputs(split), selection, self.bundle.manifest.taxonomy)

    def _run(
        self, split: Split, collect: Callable[[AnytimeNet, Batches], Found]
    ) -> tuple[Found, dict[str, Any]]:
        """What `collect` makes of the net and a split, with the names of data, part and device."""
        if self._rules is not None:
            self.bundle.count_costs(self._rules)
        device, workers = settled_device(self._reading.device), self._reading.workers
        images, name, part = images_for(self._reading, split)
        if len(images) == 0:
            why = "the net was trained on all of them (val_fraction=0)" if part == "val" else "it is empty"
            raise DataError(
                f"the {part} split of {name} holds no images: {why}; choose another split or data"
            )
        preprocessing, workers = self.bundle.manifest.preprocessing, self._reading.workers
        batches = plain_loader(images, preprocessing, torch.device(device), workers=workers)
        collected = collect(self.bundle.net.to(device), batches)
        self.bundle.net.cpu()
        return collected, {"data": name, "split": part, "device": device}


def measured_latencies(bundle: Bundle, backend: str | None = None) -> list[Latency] | None:
    """Batch-1 latency of each sub-network on this machine, if it was profiled here; see `table_here`."""
    table = table_here(bundle, backend)
    return None if table is None else _latencies(table, bundle.num_stages)


def table_here(bundle: Bundle, backend: str | None = None) -> CostTable | None:
    """The cost table of this machine that says most of what predictions cost that nobody gave options.

    Those run on the native engine or eagerly, on one thread, in float32; None if no table of this machine
    knows every (0, k).

    Args:
        bundle: with its tables.
        backend: take none but tables of this one.

    Raises:
        CostTableError: if a backend is named that has no such table.
    """
    here, stages = machine_stamp(), range(1, bundle.num_stages + 1)
    found = [
        table
        for table in bundle.cost_tables.values()
        if backend in (None, table.backend)
        and same_machine(table.machine, here)
        and all((0, stage, 1) in table.entries for stage in stages)
    ]
    if backend is not None and not found:
        raise CostTableError(
            f"nobody measured the backend {backend!r} on this machine: run an.profile(bundle) with "
            f"backend={backend!r} first"
        )
    return min(found, key=_further_from_default, default=None)


def _latencies(table: CostTable, num_stages: int) -> list[Latency]:
    return [table.latency(0, stage) for stage in range(1, num_stages + 1)]


def _further_from_default(table: CostTable) -> tuple[int, bool, int, str]:
    first = {NATIVE: 0, EAGER: 1}.get(table.backend, 2)
    return (first, table.dtype != "float32", table.threads, table.key)


@torch.inference_mode()
def measured(task: Task, net: AnytimeNet, batches: Batches) -> tuple[Meter, int]:
    """The meter of all stages, run in eval mode over `batches`, and how many images there were.

    Raises:
        NotFiniteError: if a stage answers with NaN or infinity.
    """
    meter, count = task.meter(), 0
    for outputs, labels in answers(net, batches):
        count += len(labels[0])
        for stage, output in enumerate(outputs, 1):
            meter.update(stage, output, labels)
    return meter, count


def check_not_val(split: object, what: str) -> None:
    """Raises unless `split` is one on which choices that were made on the validation images can be tried."""
    if isinstance(split, str) and split == "val":
        raise ValueError(f"split: {what} on the validation images: evaluate them on another split")
    choice(split, "split", ("train", "test"))
