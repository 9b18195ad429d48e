"""How the stages learn together: sampling, targets, weighting, gradients."""

from anytimenet.schemes.gradients import SummedGradients
from anytimenet.schemes.hooks import Criterion, GradientRule, Group, GroupLoss, Sampling, Targets, Weighting
from anytimenet.schemes.sampling import AllStages
from anytimenet.schemes.scheme import BuiltScheme, Scheme, SchemePreset, list_schemes, scheme_preset
from anytimenet.schemes.targets import FromLabels
from anytimenet.schemes.weighting import ConstantWeights

__all__ = [
    "AllStages",
    "BuiltScheme",
    "ConstantWeights",
    "Criterion",
    "FromLabels",
    "GradientRule",
    "Group",
    "GroupLoss",
    "Sampling",
    "Scheme",
    "SchemePreset",
    "SummedGradients",
    "Targets",
    "Weighting",
    "list_schemes",
    "scheme_preset",
]
