"""Architectures and the contract that they all keep."""

from anytimenet.nets.arguments import even_slices
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.chain.exits import ExitNet
from anytimenet.nets.contract import (
    AnytimeNet,
    Join,
    Output,
    Part,
    Segment,
    Snapshot,
    State,
    TensorSpec,
    rows,
)
from anytimenet.nets.depth import (  # noqa: F401  (registers the names)
    ann_msdnet,
    densenet,
    efficientnet_lite,
    fcn_exits,
    msdnet,
    plain_chain,
    ranet,
    resnet_ann,
    resnext_exits,
)
from anytimenet.nets.fixed import resnet, resnext  # noqa: F401
from anytimenet.nets.members import named  # noqa: F401
from anytimenet.nets.members.eann import EANN
from anytimenet.nets.registry import (
    NetEntry,
    build_on_meta,
    create_net,
    list_nets,
    net_entry,
    pretrained_weights,
    rebuild_net,
    register_net,
)
from anytimenet.nets.slices import doubling, isresnext  # noqa: F401
from anytimenet.nets.width import iresnext, nestednet, slimmable  # noqa: F401
from anytimenet.nets.wrapped import named as wrapped_named  # noqa: F401
from anytimenet.nets.wrapped.adapters import (  # noqa: F401  (register prefixes)
    huggingface_nets,
    timm_nets,
    torchvision_nets,
)
from anytimenet.nets.wrapped.taps import wrap
from anytimenet.nets.wrapped.zero_time_waste import zero_time_waste

__all__ = [
    "EANN",
    "AnytimeNet",
    "ChainNet",
    "ExitNet",
    "Join",
    "NetEntry",
    "Node",
    "Output",
    "Part",
    "Segment",
    "Snapshot",
    "State",
    "TensorSpec",
    "build_on_meta",
    "create_net",
    "even_slices",
    "list_nets",
    "net_entry",
    "pretrained_weights",
    "rebuild_net",
    "register_net",
    "rows",
    "wrap",
    "zero_time_waste",
]
