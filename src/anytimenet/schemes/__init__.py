"""How the stages learn together: sampling, targets, weighting, gradients."""

from anytimenet.schemes.gradients import (
    BlockDependent,
    ConflictProjection,
    GradientEquilibrium,
    GroupedLosses,
    OrthogonalGradients,
    SummedGradients,
)
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
from anytimenet.schemes.targets import Distillation, EMATeacher, FromLabels, GivenTeacher, TDLambda
from anytimenet.schemes.teacher import Teacher
from anytimenet.schemes.weighting import (
    AdaLossWeights,
    AlternatingWeights,
    CalledWeights,
    ConstantWeights,
    CostWeights,
    GivenWeights,
    HalfEndWeights,
    LinearWeights,
    SieveWeights,
)

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
