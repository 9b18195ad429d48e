"""Published schemes by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anytimenet.core.registered import unknown
from anytimenet.schemes.gradients.conflict import ConflictProjection
from anytimenet.schemes.gradients.equilibrium import GradientEquilibrium
from anytimenet.schemes.gradients.orthogonal import OrthogonalGradients
from anytimenet.schemes.gradients.routing import BlockDependent, GroupedLosses
from anytimenet.schemes.sampling import DrawnStages, Sandwich
from anytimenet.schemes.scheme import Scheme
from anytimenet.schemes.targets.bootstrapping import TDLambda
from anytimenet.schemes.targets.distillation import Distillation
from anytimenet.schemes.targets.labels import FromLabels
from anytimenet.schemes.targets.teachers import EMATeacher, GivenTeacher
from anytimenet.schemes.weighting.adaloss import AdaLossWeights
from anytimenet.schemes.weighting.alternating import AlternatingWeights
from anytimenet.schemes.weighting.cost import CostWeights
from anytimenet.schemes.weighting.fixed import HalfEndWeights, LinearWeights
from anytimenet.schemes.weighting.sieve import SieveWeights


@dataclass(frozen=True)
class SchemePreset:
    """A published scheme by name.

    Attributes:
        name: as in `anytimenet train --scheme NAME`.
        scheme: its four hooks.
        summary: one line.
        paper: where it comes from.
    """

    name: str
    scheme: Scheme
    summary: str
    paper: str


def scheme_preset(name: str) -> SchemePreset:
    """The preset of that name.

    Raises:
        ValueError: for an unknown name, with the nearest known one.

    >>> scheme_preset("anytime").paper
    'Anytime Neural Prediction via Slicing Networks Vertically, equation 1'
    """
    if name not in _PRESETS:
        raise ValueError(f"no scheme is named {name!r}: {unknown(name, 'schemes', _PRESETS)}")
    return _PRESETS[name]


def list_schemes() -> list[str]:
    """Names of all presets, sorted."""
    return sorted(_PRESETS)


# As in the code of the block-dependent losses: added to the labels, temperature 1.5, no factor T^2.
_BESIDE_LABELS = Distillation(
    "last", mixing=0.3, temperature=1.5, squared_temperature=False, label_weight=1.0
)

_BLOCKS = (
    "Han et al., Improving Low-Latency Predictions in Multi-Exit Neural Networks via Block-Dependent Losses"
)

# For each paper the name, the hooks and the summary of its schemes.
_BY_PAPER: Mapping[str, Mapping[str, tuple[Scheme, str]]] = {
    "Anytime Neural Prediction via Slicing Networks Vertically, equation 1": {
        "anytime": (Scheme(), "every stage learns the labels; the plain sum of losses"),
    },
    "Hu et al., Learning Anytime Predictions in Neural Networks via Adaptive Loss Balancing (AAAI 2019)": {
        "linear": (Scheme(weighting=LinearWeights()), "weights rise from a quarter to 1 with the stage"),
        "half_end": (
            Scheme(weighting=HalfEndWeights()),
            "the last stage counts as much as all others together, which count equally",
        ),
        "sieve": (
            Scheme(weighting=SieveWeights()),
            "half of the weight on the last stage, the rest on ever finer grids of stages",
        ),
        "sieve_from_end": (
            Scheme(weighting=SieveWeights("from_end")),
            "SIEVE as the authors' code has it by default, counted from the last stage",
        ),
        "sieve_v2": (
            Scheme(weighting=SieveWeights("v2")),
            "SIEVE as the second version in the authors' code",
        ),
        "exp_lin": (
            Scheme(weighting=SieveWeights("heavy_end")),
            "EXP-LIN, a name that is inferred: half of the weight on the last stage, half of the rest on the "
            "middle, and so on",
        ),
        "sieve_alternating": (
            Scheme(weighting=AlternatingWeights()),
            "SIEVE, and in each step one drawn stage counts extra",
        ),
        "adaloss": (
            Scheme(weighting=AdaLossWeights()),
            "a stage's weight falls with the running mean of its loss",
        ),
    },
    "": {"inverse_cost": (Scheme(weighting=CostWeights()), "a stage's weight falls with its multiply-adds")},
    _BLOCKS: {
        "block_dependent": (
            Scheme(gradients=BlockDependent(window=3)),
            "a block learns from the next 3 exits only",
        ),
        "block_dependent_final": (
            Scheme(gradients=BlockDependent(window=3, include_final=True)),
            "a block learns from the next 3 exits and from the last",
        ),
        "block_dependent_distilled": (
            Scheme(targets=_BESIDE_LABELS, gradients=BlockDependent(window=3)),
            "a block learns from the next 3 exits, which also learn from the last exit's answer",
        ),
        "grouped": (
            Scheme(gradients=GroupedLosses()),
            "exits in groups of 3: no loss trains the blocks of an earlier group",
        ),
        "local": (Scheme(gradients=BlockDependent(window=1)), "a block learns from its own exit only"),
        "self_distilled": (
            Scheme(targets=_BESIDE_LABELS),
            "earlier stages learn the last stage's answer beside the labels",
        ),
    },
    "Li et al., Improved Techniques for Training Adaptive Deep Networks (ICCV 2019)": {
        "equilibrium": (
            Scheme(gradients=GradientEquilibrium()),
            "the gradient between blocks is rescaled by how many exits lie behind",
        ),
        "distilled": (
            Scheme(targets=Distillation()),
            "earlier stages learn labels and the last stage's answer, with IMTA's ImageNet values",
        ),
    },
    "Iuzzolino et al., Improving Anytime Prediction with Parallel Cascaded Networks (NeurIPS 2021)": {
        "td": (
            Scheme(targets=TDLambda(0.5)),
            "a stage learns from the answers of later ones, TD(lambda) with lambda 0.5",
        ),
    },
    "Hinton et al., Distilling the Knowledge in a Neural Network (2015); the values of IMTA's code": {
        "teacher": (
            Scheme(targets=GivenTeacher()),
            "stages learn labels and the last answer of a trained net, the teacher",
        ),
    },
    "Li et al., Dynamic Slimmable Network (CVPR 2021)": {
        "ema_teacher": (
            Scheme(sampling=Sandwich(), targets=EMATeacher()),
            "largest, smallest and two random stages; all but the largest learn from the net's running mean",
        ),
        "ds_net": (
            Scheme(sampling=Sandwich(), targets=EMATeacher(momentum=0.997)),
            "`ema_teacher` with the momentum that was released, 0.997",
        ),
    },
    "Wan et al., Orthogonalized SGD and Nested Architectures for Anytime Neural Networks (ICML 2020)": {
        "osgd": (
            Scheme(gradients=OrthogonalGradients()),
            "later stages' gradients lose what lies along those of earlier ones",
        ),
    },
    "Yu et al., Gradient Surgery for Multi-Task Learning (NeurIPS 2020)": {
        "conflict_projection": (
            Scheme(gradients=ConflictProjection()),
            "a stage's gradient loses what runs against that of another",
        ),
    },
    "Yu and Huang, Universally Slimmable Networks and Improved Training Techniques (ICCV 2019)": {
        "slimmable": (
            Scheme(sampling=Sandwich(), targets=Distillation("largest", mixing=1.0)),
            "largest, smallest and two random stages; all but the largest learn the largest one's answer",
        ),
    },
    "Kim, Ahn and Oh, NestedNet (CVPR 2018)": {
        "coarse_to_fine": (
            Scheme(targets=FromLabels("coarse_to_fine")),
            "small stages learn coarse labels and large ones fine labels, each at one level",
        ),
    },
    "Valipour et al., SortedNet (2023)": {
        "drawn": (Scheme(sampling=DrawnStages()), "one stage a step, drawn at random"),
    },
}
_PRESETS = {
    name: SchemePreset(name, scheme, summary, paper)
    for paper, rows in _BY_PAPER.items()
    for name, (scheme, summary) in rows.items()
}
