"""The front door from Python: `fit`, `evaluate`, `profile`, `reestimate`, `load` and what belongs to them."""

from anytimenet.api.arguments import Split
from anytimenet.api.fitting import check_fit, fit
from anytimenet.api.joining import join_bundles
from anytimenet.api.judging import collect_outputs, evaluate, evaluate_budgeted, measured_latencies
from anytimenet.api.label_maps import LabelMap, draw_masks, label_map, write_masks
from anytimenet.api.levels import choose_levels, evaluate_levels
from anytimenet.api.loading import load
from anytimenet.api.profiling import profile
from anytimenet.api.reestimating import reestimate

__all__ = [
    "LabelMap",
    "Split",
    "check_fit",
    "choose_levels",
    "collect_outputs",
    "draw_masks",
    "evaluate",
    "evaluate_budgeted",
    "evaluate_levels",
    "fit",
    "join_bundles",
    "label_map",
    "load",
    "measured_latencies",
    "profile",
    "reestimate",
    "write_masks",
]
