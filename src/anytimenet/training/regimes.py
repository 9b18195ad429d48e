"""Training regimes: which weights learn when, the backbone's or the heads'.

- "joint": all together, from the first step. For nets from scratch.
- "frozen": the heads alone. The backbone runs in eval mode, so that its weights and its BatchNorm statistics
  stay bit for bit what they are, and it runs once an image: heads learn from stored features in seconds.
  As in "Zero Time Waste" (NeurIPS 2021) and JEI-DNN (ICLR 2024). A net with a cascade (`zero_time_waste`)
  learns its heads, then their ensembles.
- "mixed": first as in "frozen", then all together at a small rate, from heads that fit the backbone already,
  and in the end the heads alone once more (ours), on the backbone that came out. After "Joint or Disjoint:
  Mixing Training Regimes for Early-Exit Models" (2407.14320), where the backbone is trained before; here it
  comes pretrained.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.contract import AnytimeNet
from anytimenet.training.cascades import heads_of

Regime = Literal["joint", "frozen", "mixed"]


def regime_for(net: AnytimeNet, *, pretrained: bool) -> Regime:
    """The regime if nothing else is said: "mixed" for a pretrained net with exits, else "joint".

    >>> from anytimenet.nets import create_net
    >>> regime_for(create_net("msdnet_tiny"), pretrained=True)
    'mixed'
    """
    return "mixed" if pretrained and isinstance(net, ChainNet) and net.num_stages > 1 else "joint"


def check_regime(net: AnytimeNet, regime: Regime) -> None:
    """Raises ValueError, with cause and cure, if `net` cannot be trained so."""
    if regime == "joint":
        return
    if not isinstance(net, ChainNet):
        raise ValueError(
            f"regime={regime!r} trains heads on a backbone that stays as it is, and this net is no chain of "
            "blocks with heads (ChainNet): use regime='joint'"
        )
    if not any(can_learn(head) for head in heads_of(net)):
        raise ValueError(
            f"regime={regime!r}: no head of this net can learn, every weight there has requires_grad=False"
        )
    heads = {id(weight) for head in heads_of(net) for weight in head.parameters()}
    backbone = (weight for weight in net.parameters() if id(weight) not in heads)
    if regime == "mixed" and not any(weight.requires_grad for weight in backbone):
        raise ValueError(
            "regime='mixed' trains the backbone, too, and this one is frozen (wrap(frozen=True), or "
            "requires_grad=False): use regime='frozen'"
        )


def can_learn(module: nn.Module) -> bool:
    """Whether any weight in it learns."""
    return any(parameter.requires_grad for parameter in module.parameters())
