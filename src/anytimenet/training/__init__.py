"""Training: the loop, its configuration, checkpoints and logs."""

from anytimenet.training.collect import collect_logits
from anytimenet.training.config import TrainConfig, preset
from anytimenet.training.logs import Reporter
from anytimenet.training.loop import Batches, TrainResult, train

__all__ = ["Batches", "Reporter", "TrainConfig", "TrainResult", "collect_logits", "preset", "train"]
