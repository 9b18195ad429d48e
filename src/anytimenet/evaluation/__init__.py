"""Evaluation: what a net's predictions are worth, stage by stage and over budgets. No torch in here.

The names in `__init__.pyi` are resolved when they are used: a command that prints a list should not import
all of it.
"""

from __future__ import annotations

import importlib
from typing import Any

from anytimenet.core.deprecation import deprecated
from anytimenet.core.lazy_names import homes_of, lazily

__all__ = list(homes_of(__file__))
_MOVED = {
    "confidences": "anytimenet.core.answers.confidence",
    "leaving_stages": "anytimenet.core.answers.exit_thresholds",
    "softmax": "anytimenet.core.answers.probabilities",
    "solve_for_budget": "anytimenet.core.answers.exit_thresholds",
    "solve_thresholds": "anytimenet.core.answers.exit_thresholds",
}


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        return lazily(__name__, __file__, name)
    old, new = f"anytimenet.evaluation.{name}", f"{_MOVED[name]}.{name}"
    deprecated(old, since="0.2.0", removed_in="0.4.0", instead=new)
    return getattr(importlib.import_module(_MOVED[name]), name)


def __dir__() -> list[str]:
    return __all__
