"""The front door from Python: `fit`, `evaluate`, `profile`, `reestimate`, `load` and what belongs to them."""

from anytimenet.bundle import load
from anytimenet.workflows.benching import bench, write_bench
from anytimenet.workflows.evaluating import collect_outputs, evaluate, evaluate_budgeted
from anytimenet.workflows.evaluation import Evaluation, measured_latencies
from anytimenet.workflows.exits import ExecutedExits, Exits, choose_exits
from anytimenet.workflows.exporting import export_bundle
from anytimenet.workflows.fitting import fit
from anytimenet.workflows.joining import join_bundles
from anytimenet.workflows.label_maps import LabelMap, draw_masks, label_map, write_masks
from anytimenet.workflows.levels import choose_levels, evaluate_levels
from anytimenet.workflows.predicting import predictor
from anytimenet.workflows.profiling import profile
from anytimenet.workflows.reading import Reading, Split
from anytimenet.workflows.reestimating import reestimate
from anytimenet.workflows.slicing import slice_bundle

__all__ = [
    "Evaluation",
    "ExecutedExits",
    "Exits",
    "LabelMap",
    "Reading",
    "Split",
    "bench",
    "choose_exits",
    "choose_levels",
    "collect_outputs",
    "draw_masks",
    "evaluate",
    "evaluate_budgeted",
    "evaluate_levels",
    "export_bundle",
    "fit",
    "join_bundles",
    "label_map",
    "load",
    "measured_latencies",
    "predictor",
    "profile",
    "reestimate",
    "slice_bundle",
    "write_bench",
    "write_masks",
]
