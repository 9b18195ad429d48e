"""Anytime neural prediction: train one network, answer within any budget.

The names below are resolved when they are used, so that `import anytimenet` needs neither torch nor time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from anytimenet.core.version import __version__

if TYPE_CHECKING:
    from anytimenet.bundle import Bundle
    from anytimenet.core.answers.level_selection import LevelSelection
    from anytimenet.core.answers.prediction import FailedPrediction, Prediction
    from anytimenet.core.images.preprocessing import Preprocessing
    from anytimenet.core.labels.taxonomy import Taxonomy
    from anytimenet.core.manifest.cost_table import CostTable
    from anytimenet.core.manifest.manifest import Manifest
    from anytimenet.costs import stage_costs
    from anytimenet.data import (
        Augmentation,
        DataOptions,
        LargeImageAugmentation,
        MaskAugmentation,
        MaskSet,
        Mixing,
        load_data,
    )
    from anytimenet.evaluation import Curve, Report, SegmentationReport
    from anytimenet.nets import EANN, AnytimeNet, ChainNet, ExitNet, create_net, list_nets, register_net, wrap
    from anytimenet.recipes import Experiment, recipe, run
    from anytimenet.schemes import Scheme
    from anytimenet.tasks import Segmentation
    from anytimenet.training import Reporter, TrainConfig
    from anytimenet.workflows import (
        collect_outputs,
        evaluate,
        evaluate_budgeted,
        evaluate_levels,
        fit,
        join_bundles,
        label_map,
        load,
        profile,
        reestimate,
        write_masks,
    )

_HOMES = {
    "AnytimeNet": "nets",
    "Augmentation": "data",
    "Bundle": "bundle",
    "ChainNet": "nets",
    "CostTable": "core.manifest.cost_table",
    "Curve": "evaluation",
    "DataOptions": "data",
    "EANN": "nets",
    "ExitNet": "nets",
    "Experiment": "recipes",
    "FailedPrediction": "core.answers.prediction",
    "LargeImageAugmentation": "data",
    "LevelSelection": "core.answers.level_selection",
    "Manifest": "core.manifest.manifest",
    "MaskAugmentation": "data",
    "MaskSet": "data",
    "Mixing": "data",
    "Prediction": "core.answers.prediction",
    "Preprocessing": "core.images.preprocessing",
    "Report": "evaluation",
    "Reporter": "training",
    "Scheme": "schemes",
    "Segmentation": "tasks",
    "SegmentationReport": "evaluation",
    "Taxonomy": "core.labels.taxonomy",
    "TrainConfig": "training",
    "collect_outputs": "workflows",
    "create_net": "nets",
    "evaluate": "workflows",
    "evaluate_budgeted": "workflows",
    "evaluate_levels": "workflows",
    "fit": "workflows",
    "join_bundles": "workflows",
    "label_map": "workflows",
    "list_nets": "nets",
    "load": "workflows",
    "load_data": "data",
    "profile": "workflows",
    "recipe": "recipes",
    "reestimate": "workflows",
    "register_net": "nets",
    "run": "recipes",
    "stage_costs": "costs",
    "wrap": "nets",
    "write_masks": "workflows",
}

__all__ = [
    "EANN",
    "AnytimeNet",
    "Augmentation",
    "Bundle",
    "ChainNet",
    "CostTable",
    "Curve",
    "DataOptions",
    "ExitNet",
    "Experiment",
    "FailedPrediction",
    "LargeImageAugmentation",
    "LevelSelection",
    "Manifest",
    "MaskAugmentation",
    "MaskSet",
    "Mixing",
    "Prediction",
    "Preprocessing",
    "Report",
    "Reporter",
    "Scheme",
    "Segmentation",
    "SegmentationReport",
    "Taxonomy",
    "TrainConfig",
    "__version__",
    "collect_outputs",
    "create_net",
    "evaluate",
    "evaluate_budgeted",
    "evaluate_levels",
    "fit",
    "join_bundles",
    "label_map",
    "list_nets",
    "load",
    "load_data",
    "profile",
    "recipe",
    "reestimate",
    "register_net",
    "run",
    "stage_costs",
    "wrap",
    "write_masks",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anytimenet' has no attribute {name!r}")
    try:
        home = importlib.import_module(f"anytimenet.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "anytimenet":
            raise
        from anytimenet.core.errors import MissingExtraError, how_to_install

        raise MissingExtraError(
            f"anytimenet.{name} needs {error.name}, which is not installed: {how_to_install('train')}"
        ) from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return __all__
