"""How much each stage's loss counts."""

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
from anytimenet.schemes.weighting.sieve import SieveVersion, SieveWeights, sieve_units

__all__ = [
    "AdaLossWeights",
    "AlternatingWeights",
    "CalledWeights",
    "ConstantWeights",
    "CostWeights",
    "GivenWeights",
    "HalfEndWeights",
    "LinearWeights",
    "SieveVersion",
    "SieveWeights",
    "sieve_units",
]
