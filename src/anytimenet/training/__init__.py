"""Training: the loop, its configuration, checkpoints and logs."""

from anytimenet.training.config import TrainConfig, TrainResult, preset
from anytimenet.training.launching import check_device, check_launch, check_share, launch
from anytimenet.training.loop import check_scheme, train
from anytimenet.training.processes import wait_for_processes
from anytimenet.training.reporter import Reporter
from anytimenet.training.validation import Batches, collect_logits

__all__ = [
    "Batches",
    "Reporter",
    "TrainConfig",
    "TrainResult",
    "check_device",
    "check_launch",
    "check_scheme",
    "check_share",
    "collect_logits",
    "launch",
    "preset",
    "train",
    "wait_for_processes",
]
