"""The front door from Python: `fit`, `evaluate`, `profile`, `reestimate`, `load`."""

from anytimenet.api.arguments import Split
from anytimenet.api.fitting import fit
from anytimenet.api.judging import collect_outputs, evaluate, evaluate_budgeted, measured_latencies
from anytimenet.api.loading import load
from anytimenet.api.profiling import profile
from anytimenet.api.reestimating import reestimate

__all__ = [
    "Split",
    "collect_outputs",
    "evaluate",
    "evaluate_budgeted",
    "fit",
    "load",
    "measured_latencies",
    "profile",
    "reestimate",
]
