"""Schemes as words: the members of each hook by name, and what a scheme is as JSON values."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any

from anytimenet.schemes.gradients.conflict import ConflictProjection
from anytimenet.schemes.gradients.equilibrium import GradientEquilibrium
from anytimenet.schemes.gradients.orthogonal import OrthogonalGradients
from anytimenet.schemes.gradients.routing import BlockDependent, GroupedLosses
from anytimenet.schemes.gradients.summed import SummedGradients
from anytimenet.schemes.hooks import ADDED_LATER
from anytimenet.schemes.sampling import AllStages, DrawnStages, Sandwich
from anytimenet.schemes.scheme import Scheme
from anytimenet.schemes.targets.bootstrapping import TDLambda
from anytimenet.schemes.targets.distillation import Distillation
from anytimenet.schemes.targets.labels import FromLabels
from anytimenet.schemes.targets.teachers import EMATeacher, GivenTeacher
from anytimenet.schemes.weighting.adaloss import AdaLossWeights
from anytimenet.schemes.weighting.alternating import AlternatingWeights
from anytimenet.schemes.weighting.cost import CostWeights
from anytimenet.schemes.weighting.fixed import ConstantWeights, GivenWeights, HalfEndWeights, LinearWeights
from anytimenet.schemes.weighting.sieve import SieveWeights

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

    A member of one's own is named by its class, a function by its module, its name and a digest of what it
    does, so that a run is not resumed with another function of the same name. A field that a member got later
    than others is told only where it is not its default, so that runs from before it go on.

    >>> scheme_to_dict(Scheme())["weighting"]
    {'member': 'constant', 'weight': 1.0, 'total': None}
    """
    return {hook: _to_value(getattr(scheme, hook)) for hook in MEMBERS}


def name_of_member(member: type) -> str:
    """The name that the command line has for a member; its class's for one of one's own."""
    return _NAMES.get(member, member.__qualname__)


def _to_value(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "member": name_of_member(type(value)),
            **{
                field.name: _to_value(getattr(value, field.name))
                for field in fields(value)
                if _told(value, field)
            },
        }
    if isinstance(value, tuple | list):
        return [_to_value(one) for one in value]
    return _function(value) if callable(value) else value


def _told(member: Any, field: Field[Any]) -> bool:
    return field.metadata != ADDED_LATER or getattr(member, field.name) != field.default


def _function(function: Callable[..., Any]) -> str:
    if isinstance(function, functools.partial):
        given = [*map(str, function.args), *(f"{name}={value}" for name, value in function.keywords.items())]
        return f"{_function(function.func)}({', '.join(given)})"
    code = getattr(function, "__code__", None)
    if code is None:
        return f"{type(function).__module__}.{type(function).__qualname__}"
    does = repr((code.co_code, code.co_names, [c for c in code.co_consts if not hasattr(c, "co_code")]))
    digest = hashlib.sha256(does.encode()).hexdigest()[:8]
    return f"{function.__module__}.{function.__qualname__} {digest}"
