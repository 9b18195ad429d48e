"""The manifest that a bundle begins with: counted costs, and how good each stage is on validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from anytimenet.core.checks import all_words, fractions, instance, optional, several
from anytimenet.core.errors import BundleError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import STEP_COSTS, STEPS, ScoreRecord, StageRecord, TaskRecord
from anytimenet.costs.rules import Rules, as_rules
from anytimenet.costs.stage_costs import StageCost, stage_costs
from anytimenet.nets.contract import AnytimeNet


def new_manifest(
    net: AnytimeNet,
    *,
    class_names: Sequence[Sequence[str]],
    preprocessing: Preprocessing,
    taxonomy: Taxonomy | None,
    val_accuracies: Sequence[float] | None,
    coarser_val_accuracies: Sequence[Sequence[float]] | None,
    provenance: Mapping[str, Any] | None,
    costs: Sequence[StageCost] | None,
    rules: Rules | None,
    task: TaskRecord | None,
    score: ScoreRecord | None,
) -> Manifest:
    """The manifest of a net that was just trained; `Bundle.create` says what the arguments are.

    Raises:
        BundleError: if these do not belong together.
    """
    as_rules(rules)
    instance(preprocessing, Preprocessing, "preprocessing", "Preprocessing(32, 32, 3, mean, std)")
    provenance = {} if provenance is None else instance(provenance, Mapping, "provenance", "{}")
    names = tuple(all_words(level, "class_names") for level in several(class_names, "class_names"))
    shape = (preprocessing.channels, preprocessing.height, preprocessing.width)
    costs = stage_costs(net, shape, rules=rules) if costs is None else several(costs, "costs")
    stages = stage_records(costs, val_accuracies, coarser_val_accuracies)
    return Manifest(
        *(None, names, preprocessing, shape, stages, taxonomy, {**provenance, **told_rules(rules)}),
        task=task,
        score=score,
        extensions={STEPS: steps_of(costs)},
    )


def stage_records(
    costs: Sequence[StageCost],
    val_accuracies: Sequence[float] | None,
    coarser_val_accuracies: Sequence[Sequence[float]] | None,
) -> tuple[StageRecord, ...]:
    """The records of stages 1..K; `Bundle.create` says what the arguments are.

    Raises:
        BundleError: unless there is one accuracy a stage.
    """
    for cost in costs:
        instance(cost, StageCost, "costs", "those that stage_costs(net, shape) counts")
    given = optional(val_accuracies, "val_accuracies", fractions)
    accuracies = [None] * len(costs) if given is None else [float(accuracy) for accuracy in given]
    rows = optional(coarser_val_accuracies, "coarser_val_accuracies", several)
    coarser = [
        tuple(map(float, fractions(row, "coarser_val_accuracies")))
        for row in ([()] * len(costs) if rows is None else rows)
    ]
    for found in (accuracies, coarser):
        if len(found) != len(costs):
            raise BundleError(f"{len(found)} validation accuracies, {len(costs)} stages: one each is needed")
    return tuple(
        StageRecord(
            *(cost.stage, cost.macs, cost.full, cost.params, accuracy, more),
            uncounted_operators=cost.uncounted_operators,
        )
        for cost, accuracy, more in zip(costs, accuracies, coarser, strict=True)
    )


def counted_manifest(manifest: Manifest, costs: Sequence[StageCost], rules: Rules) -> Manifest:
    """The manifest with costs that were counted anew, by these rules."""
    counted = stage_records(costs, None, None)
    stages = tuple(
        replace(new, val_accuracy=old.val_accuracy, coarser_val_accuracies=old.coarser_val_accuracies)
        for new, old in zip(counted, manifest.stages, strict=True)
    )
    return replace(
        manifest,
        stages=stages,
        provenance={**manifest.provenance, **told_rules(rules)},
        extensions={**manifest.extensions, STEPS: steps_of(costs)},
    )


def steps_of(costs: Sequence[StageCost]) -> list[dict[str, int]]:
    """The costs of the steps, for `anytimenet info`, which has no torch to count them with."""
    return [{name: getattr(cost, name) for name in STEP_COSTS} for cost in costs]


def counted_costs(manifest: Manifest) -> list[StageCost] | None:
    """The costs that a manifest was made with, or None where it lacks those of the steps.

    They are those of the net that was counted: take them only where it has not changed since.
    """
    steps = manifest.extensions.get(STEPS)
    if steps is None:
        return None
    return [
        StageCost(
            stage=record.stage,
            macs=record.macs,
            full=record.full,
            params=record.params,
            uncounted_operators=record.uncounted_operators,
            **step,
        )
        for record, step in zip(manifest.stages, steps, strict=True)
    ]


def told_rules(rules: Rules | None) -> dict[str, Any]:
    """What provenance says of the rules that costs were counted with: the numbers among them."""
    told = {name: rule for name, rule in (rules or {}).items() if not callable(rule)}
    return {"rules": told} if told else {}
