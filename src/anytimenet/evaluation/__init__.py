"""Evaluation: what a net's predictions are worth, stage by stage and over budgets. No torch in here.

The names in `__init__.pyi` are resolved when they are used: a command that prints a list should not import
all of it.
"""

from __future__ import annotations

from typing import Any

from anytimenet.core.deprecation import deprecated
from anytimenet.core.lazy_names import homes_of, lazily

__all__ = list(homes_of(__file__))


def __getattr__(name: str) -> Any:
    if name == "judge_levels":
        new = "anytimenet.evaluation.evaluate_selection"
        deprecated("anytimenet.evaluation.judge_levels", since="0.2.0", removed_in="0.4.0", instead=new)
        name = "evaluate_selection"
    return lazily(__name__, __file__, name)


def __dir__() -> list[str]:
    return __all__
