"""What a net costs: operations counted on the meta device, latency measured on a real one."""

from anytimenet.costs.conventions import OperationCount, Rule
from anytimenet.costs.counting import UnknownOperatorError, count
from anytimenet.costs.latency import Prepare, profile_segments, torch_threads
from anytimenet.costs.rules import Rules
from anytimenet.costs.segment_specs import segment_macs, segment_specs
from anytimenet.costs.stage_costs import StageCost, stage_costs
from anytimenet.costs.torch_segments import torch_segments
from anytimenet.nets.snapshot import meta_copy

__all__ = [
    "OperationCount",
    "Prepare",
    "Rule",
    "Rules",
    "StageCost",
    "UnknownOperatorError",
    "count",
    "meta_copy",
    "profile_segments",
    "segment_macs",
    "segment_specs",
    "stage_costs",
    "torch_segments",
    "torch_threads",
]
