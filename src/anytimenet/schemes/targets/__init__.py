"""What each stage learns."""

from anytimenet.schemes.targets.bootstrapping import TDLambda
from anytimenet.schemes.targets.distillation import Distillation
from anytimenet.schemes.targets.labels import FromLabels
from anytimenet.schemes.targets.soft import divergence, soft_cross_entropy
from anytimenet.schemes.targets.teachers import EMATeacher, GivenTeacher

__all__ = [
    "Distillation",
    "EMATeacher",
    "FromLabels",
    "GivenTeacher",
    "TDLambda",
    "divergence",
    "soft_cross_entropy",
]
