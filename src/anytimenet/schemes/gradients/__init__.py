"""How the gradients of the stages combine."""

from anytimenet.schemes.gradients.conflict import ConflictProjection
from anytimenet.schemes.gradients.equilibrium import GradientEquilibrium
from anytimenet.schemes.gradients.orthogonal import OrthogonalGradients
from anytimenet.schemes.gradients.routing import BlockDependent, GroupedLosses
from anytimenet.schemes.gradients.summed import SummedGradients

__all__ = [
    "BlockDependent",
    "ConflictProjection",
    "GradientEquilibrium",
    "GroupedLosses",
    "OrthogonalGradients",
    "SummedGradients",
]
