"""Rules that a person gives for operators which the counter does not know: functions or numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, cast

from anytimenet.core.checks import LARGEST, shown
from anytimenet.costs.conventions import OperationCount, Rule

Rules = Mapping[str, Rule | float]
"""By operator name: a function of (arguments, result), or the multiply-adds of one call, 0 for a free one."""


def as_rules(rules: Rules | None) -> dict[str, Rule]:
    """`rules` as functions by full name; a name without a dot is one of PyTorch's own, `aten`.

    Raises:
        TypeError: if it is no mapping from names to functions or numbers.
        ValueError: for a number of multiply-adds that cannot be.

    >>> as_rules({"fft_rfft2": 100})["aten.fft_rfft2"]((), None)
    OperationCount(macs=100, full=100, msd=100)
    """
    if rules is None:
        return {}
    if not isinstance(rules, Mapping):
        raise TypeError(
            f'rules must be a mapping by operator name, such as {{"aten.fft_rfft2": 0}}, not {shown(rules)}'
        )
    found = {}
    for name, rule in rules.items():
        if not isinstance(name, str):
            raise TypeError(f"rules go by the names of operators, and {shown(name)} is none")
        found[name if "." in name else f"aten.{name}"] = _as_rule(name, rule)
    return found


def _as_rule(name: str, rule: Any) -> Rule:
    if callable(rule):
        return cast(Rule, rule)
    if isinstance(rule, bool) or not isinstance(rule, Real):
        raise TypeError(
            f"the rule for {name!r} must be a function of (arguments, result) or a number of multiply-adds, "
            f"not {shown(rule)}"
        )
    try:
        cost = float(rule)
    except OverflowError:
        cost = math.inf
    if not (math.isfinite(cost) and 0 <= cost <= LARGEST):
        raise ValueError(f"the rule for {name!r}: {shown(rule)} is no number of multiply-adds")
    macs = int(cost)
    return lambda args, result: OperationCount(macs, macs, macs)
