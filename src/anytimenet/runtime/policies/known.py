"""Policies by name, as the thresholds of a bundle name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from anytimenet.core import checks
from anytimenet.core.answers.confidence import CONFIDENCES
from anytimenet.core.errors import BundleError, suggest
from anytimenet.core.manifest.records import Thresholds
from anytimenet.runtime.policies.patience import PatiencePolicy
from anytimenet.runtime.policies.policy import ExitPolicy
from anytimenet.runtime.policies.thresholds import ClassPolicy, ConfidencePolicy

MakePolicy = Callable[[Thresholds, Mapping[str, Any]], ExitPolicy]
"""`make(thresholds, arguments)` gives the policy; `arguments` is `thresholds.about["arguments"]`, or empty:
what the policy needs beside one value a stage."""

PATIENCE = "patience"
PER_CLASS = "per_class"


def register_policy(name: str, make: MakePolicy) -> None:
    """From now on thresholds that name this policy are read by `make`.

    Args:
        name: as `Thresholds.policy` has it.
        make: called with the record and its arguments; a ValueError or TypeError of it becomes a
            `BundleError`.

    Raises:
        TypeError: for arguments of another kind.

    >>> register_policy("after_stage_2", lambda thresholds, arguments: PatiencePolicy((None, 1, 1)))
    >>> policy_of(Thresholds("after_stage_2", (None, None, None))).lengths
    (None, 1, 1)
    """
    checks.function(make, "make", "MyPolicy.from_thresholds")
    _known[checks.words(name, "name")] = make


def known_policies() -> tuple[str, ...]:
    """The names of the policies that can be read here, sorted."""
    return tuple(sorted(_known))


def policy_of(thresholds: Thresholds) -> ExitPolicy:
    """The policy that a bundle's thresholds were solved for.

    Raises:
        BundleError: for a policy that is not known here, or arguments that it cannot have.

    >>> policy_of(Thresholds("margin", (0.8, 0.5, None), {"arguments": {"temperatures": [1.5, 1.2, 1.0]}}))
    ConfidencePolicy(confidence='margin', thresholds=(0.8, 0.5, None), temperatures=(1.5, 1.2, 1.0))
    """
    checks.instance(thresholds, Thresholds, "thresholds", 'Thresholds("max_probability", (0.9, None))')
    if thresholds.policy not in _known:
        raise BundleError(
            f"the thresholds are those of a policy {thresholds.policy!r}, which is not known here: "
            f"{suggest(thresholds.policy, _known)} Or register it with register_policy"
        )
    try:
        arguments = thresholds.about.get("arguments", {})
        checks.instance(arguments, dict, "arguments", '{"temperatures": [1.5, 1.0]}')
        policy = _known[thresholds.policy](thresholds, arguments)
    except (ValueError, TypeError) as error:
        raise BundleError(
            f"the thresholds of the policy {thresholds.policy!r} cannot be used ({error}): solve them anew "
            "with an.choose_exits(bundle)"
        ) from error
    if policy.num_stages not in (None, len(thresholds.values)):
        raise BundleError(
            f"the policy {thresholds.policy!r} is for {policy.num_stages} stages and there are "
            f"{len(thresholds.values)} thresholds: solve them anew with an.choose_exits(bundle)"
        )
    return policy


def _confidence(thresholds: Thresholds, arguments: Mapping[str, Any]) -> ConfidencePolicy:
    _check(arguments, "temperatures")
    temperatures = arguments.get("temperatures", ())
    return ConfidencePolicy(thresholds.policy, thresholds.values, temperatures)  # type: ignore[arg-type]


def _patience(thresholds: Thresholds, arguments: Mapping[str, Any]) -> PatiencePolicy:
    _check(arguments)
    lengths = (None if value is None else _whole(value) for value in thresholds.values)
    return PatiencePolicy(tuple(lengths))


def _per_class(thresholds: Thresholds, arguments: Mapping[str, Any]) -> ClassPolicy:
    _check(arguments, "confidence", "temperatures", "thresholds")
    rows = [
        checks.several(row, "thresholds") for row in checks.several(arguments["thresholds"], "thresholds")
    ]
    if len({len(row) for row in rows}) > 1:
        raise ValueError("thresholds must have as many classes at each stage")
    values = [[checks.optional(value, "thresholds", checks.number) for value in row] for row in rows]
    table = np.array([[np.inf if value is None else value for value in row] for row in values], np.float64)
    temperatures = arguments.get("temperatures", ())
    return ClassPolicy(arguments["confidence"], table, temperatures)


def _check(arguments: Mapping[str, Any], *known: str) -> None:
    """Refuses an argument that this version would pass over: examples would leave at other stages then."""
    for name in arguments:
        if name not in known:
            raise ValueError(f"it has an argument {name!r}, which is none: {suggest(name, known)}")
    for name in known:
        if name != "temperatures" and name not in arguments:
            raise ValueError(f"the argument {name!r} is missing")


def _whole(value: float) -> int:
    if value != int(value):
        raise ValueError(f"a streak of {value} answers is none: whole numbers are needed")
    return int(value)


_known: dict[str, MakePolicy] = {
    **dict.fromkeys(CONFIDENCES, _confidence),
    PATIENCE: _patience,
    PER_CLASS: _per_class,
}
