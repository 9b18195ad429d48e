"""Schemes as words: the members of each hook by name, JSON values, and overrides for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from anytimenet.core.errors import suggest
from anytimenet.schemes.gradients import (
    BlockDependent,
    ConflictProjection,
    GradientEquilibrium,
    GroupedLosses,
    OrthogonalGradients,
    SummedGradients,
)
from anytimenet.schemes.sampling import AllStages, DrawnStages, Sandwich
from anytimenet.schemes.scheme import Scheme
from anytimenet.schemes.targets import Distillation, EMATeacher, FromLabels, GivenTeacher, TDLambda
from anytimenet.schemes.weighting import (
    AdaLossWeights,
    AlternatingWeights,
    ConstantWeights,
    CostWeights,
    GivenWeights,
    HalfEndWeights,
    LinearWeights,
    SieveWeights,
)

MEMBERS: Mapping[str, Mapping[str, type]] = {
    "sampling": {"all": AllStages, "sandwich": Sandwich, "drawn": DrawnStages},
    "targets": {
        "labels": FromLabels,
        "distillation": Distillation,
        "td": TDLambda,
        "ema_teacher": EMATeacher,
        "given_teacher": GivenTeacher,
    },
    "weighting": {
        "constant": ConstantWeights,
        "linear": LinearWeights,
        "half_end": HalfEndWeights,
        "sieve": SieveWeights,
        "alternating": AlternatingWeights,
        "adaloss": AdaLossWeights,
        "cost": CostWeights,
        "given": GivenWeights,
    },
    "gradients": {
        "sum": SummedGradients,
        "block_dependent": BlockDependent,
        "grouped": GroupedLosses,
        "equilibrium": GradientEquilibrium,
        "orthogonal": OrthogonalGradients,
        "conflict_projection": ConflictProjection,
    },
}
"""For each hook its members by the name that `--scheme-args HOOK=NAME` takes."""

_NAMES = {member: name for members in MEMBERS.values() for name, member in members.items()}


def scheme_to_dict(scheme: Scheme) -> dict[str, Any]:
    """JSON values: each hook's member by name, and its fields.

    A member of one's own is named by its class, a function by its module and name.

    >>> scheme_to_dict(Scheme())["weighting"]
    {'member': 'constant', 'weight': 1.0, 'total': None}
    """
    return {hook: _to_value(getattr(scheme, hook)) for hook in MEMBERS}


def override(scheme: Scheme, changes: Mapping[str, Any]) -> Scheme:
    """The scheme with other members or fields; changes apply in their order.

    Args:
        changes: `{"gradients": "block_dependent"}` takes a member with its defaults, and
            `{"gradients.window": 2}` sets one of its fields, however deep ("weighting.base.version").

    Raises:
        ValueError: for an unknown hook, member or field, with the nearest known one, or a value that the
            member refuses.

    >>> override(Scheme(), {"weighting": "sieve", "weighting.version": "v2"}).weighting.version
    'v2'
    """
    for path, value in changes.items():
        hook, _, rest = path.partition(".")
        if hook not in MEMBERS:
            raise ValueError(f"a scheme has no hook {hook!r}: {suggest(hook, MEMBERS)}")
        changed = _changed(getattr(scheme, hook), MEMBERS[hook], path, rest, value)
        scheme = replace(scheme, **{hook: changed})
    return scheme


def _changed(config: Any, members: Mapping[str, type], path: str, rest: str, value: Any) -> Any:
    """`config` with the field `rest` set, or another member in its place where `rest` is empty."""
    if not rest:
        if value not in members:
            raise ValueError(f"{path} has no member {value!r}: {suggest(str(value), members)}")
        return members[value]()
    name, _, deeper = rest.partition(".")
    known = [field.name for field in fields(config)]
    if name not in known:
        hint = suggest(name, known) if known else "it has no fields"
        raise ValueError(f"{path}: {_name(type(config))} has no field {name!r}; {hint}")
    before = getattr(config, name)
    if type(before) in _NAMES:
        value = _changed(before, members, path, deeper, value)
    elif deeper:
        raise ValueError(f"{path}: {name!r} is a value and has no field {deeper!r}; leave that out")
    elif isinstance(value, list):
        value = tuple(value)
    try:
        return replace(config, **{name: value})
    except TypeError as error:
        raise ValueError(f"{path} cannot be {value!r}: {error}") from error


def _to_value(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "member": _name(type(value)),
            **{field.name: _to_value(getattr(value, field.name)) for field in fields(value)},
        }
    if isinstance(value, tuple | list):
        return [_to_value(one) for one in value]
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value


def _name(member: type) -> str:
    return _NAMES.get(member, member.__qualname__)
