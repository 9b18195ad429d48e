"""Anytime neural prediction: train one network, answer within any budget.

The names below are resolved when they are used, so that `import anytimenet` needs neither torch nor time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from anytimenet.api import evaluate, fit, load, profile
    from anytimenet.bundle import Bundle
    from anytimenet.core.cost_table import CostTable
    from anytimenet.core.manifest import Manifest
    from anytimenet.core.prediction import Prediction
    from anytimenet.core.preprocessing import Preprocessing
    from anytimenet.core.taxonomy import Taxonomy
    from anytimenet.costs import stage_costs
    from anytimenet.data import Augmentation, DataOptions, load_data
    from anytimenet.evaluation import Curve, Report
    from anytimenet.nets import AnytimeNet, create_net, list_nets, register_net
    from anytimenet.recipes import Experiment, recipe, run
    from anytimenet.schemes import Scheme
    from anytimenet.training import TrainConfig

_HOMES = {
    "AnytimeNet": "nets",
    "Augmentation": "data",
    "Bundle": "bundle",
    "CostTable": "core.cost_table",
    "Curve": "evaluation",
    "DataOptions": "data",
    "Experiment": "recipes",
    "Manifest": "core.manifest",
    "Prediction": "core.prediction",
    "Preprocessing": "core.preprocessing",
    "Report": "evaluation",
    "Scheme": "schemes",
    "Taxonomy": "core.taxonomy",
    "TrainConfig": "training",
    "create_net": "nets",
    "evaluate": "api",
    "fit": "api",
    "list_nets": "nets",
    "load": "api",
    "load_data": "data",
    "profile": "api",
    "recipe": "recipes",
    "register_net": "nets",
    "run": "recipes",
    "stage_costs": "costs",
}

__all__ = [
    "AnytimeNet",
    "Augmentation",
    "Bundle",
    "CostTable",
    "Curve",
    "DataOptions",
    "Experiment",
    "Manifest",
    "Prediction",
    "Preprocessing",
    "Report",
    "Scheme",
    "Taxonomy",
    "TrainConfig",
    "__version__",
    "create_net",
    "evaluate",
    "fit",
    "list_nets",
    "load",
    "load_data",
    "profile",
    "recipe",
    "register_net",
    "run",
    "stage_costs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anytimenet' has no attribute {name!r}")
    try:
        home = importlib.import_module(f"anytimenet.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "anytimenet":
            raise
        from anytimenet.core.errors import MissingExtraError

        raise MissingExtraError(
            f"anytimenet.{name} needs {error.name}, which is not installed: pip install 'anytimenet[train]'"
        ) from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return __all__
