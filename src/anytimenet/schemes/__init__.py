"""How the stages learn together: sampling, targets, weighting, gradients."""

from anytimenet.schemes.gradients.conflict import ConflictProjection
from anytimenet.schemes.gradients.equilibrium import GradientEquilibrium
from anytimenet.schemes.gradients.orthogonal import OrthogonalGradients
from anytimenet.schemes.gradients.routing import BlockDependent, GroupedLosses
from anytimenet.schemes.gradients.summed import SummedGradients
from anytimenet.schemes.hooks import (
    Criterion,
    GradientRule,
    Group,
    GroupLoss,
    Lesson,
    RunFacts,
    Sampling,
    Targets,
    Weighting,
)
from anytimenet.schemes.members import MEMBERS, scheme_to_dict
from anytimenet.schemes.overrides import override, scheme_from_dict
from anytimenet.schemes.presets import SchemePreset, list_schemes, scheme_preset
from anytimenet.schemes.sampling import AllStages, DrawnStages, Sandwich
from anytimenet.schemes.scheme import BuiltScheme, Scheme
from anytimenet.schemes.targets.bootstrapping import TDLambda
from anytimenet.schemes.targets.distillation import Distillation
from anytimenet.schemes.targets.labels import FromLabels
from anytimenet.schemes.targets.teachers import EMATeacher, GivenTeacher
from anytimenet.schemes.teacher import Teacher
from anytimenet.schemes.weighting.adaloss import AdaLossWeights
from anytimenet.schemes.weighting.alternating import AlternatingWeights
from anytimenet.schemes.weighting.cost import CostWeights
from anytimenet.schemes.weighting.fixed import (
    CalledWeights,
    ConstantWeights,
    GivenWeights,
    HalfEndWeights,
    LinearWeights,
)
from anytimenet.schemes.weighting.sieve import SieveWeights

__all__ = [
    "MEMBERS",
    "AdaLossWeights",
    "AllStages",
    "AlternatingWeights",
    "BlockDependent",
    "BuiltScheme",
    "CalledWeights",
    "ConflictProjection",
    "ConstantWeights",
    "CostWeights",
    "Criterion",
    "Distillation",
    "DrawnStages",
    "EMATeacher",
    "FromLabels",
    "GivenTeacher",
    "GivenWeights",
    "GradientEquilibrium",
    "GradientRule",
    "Group",
    "GroupLoss",
    "GroupedLosses",
    "HalfEndWeights",
    "Lesson",
    "LinearWeights",
    "OrthogonalGradients",
    "RunFacts",
    "Sampling",
    "Sandwich",
    "Scheme",
    "SchemePreset",
    "SieveWeights",
    "SummedGradients",
    "TDLambda",
    "Targets",
    "Teacher",
    "Weighting",
    "list_schemes",
    "override",
    "scheme_from_dict",
    "scheme_preset",
    "scheme_to_dict",
]
