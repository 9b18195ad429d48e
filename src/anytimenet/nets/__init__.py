"""Architectures and the contract that they all keep."""

from anytimenet.nets import (  # noqa: F401  (registers the names)
    ann_msdnet,
    densenet,
    doubling,
    eann,
    fcn_exits,
    iresnext,
    isresnext,
    msdnet,
    nestednet,
    plain_chain,
    ranet,
    resnet,
    resnet_ann,
    resnext,
    resnext_exits,
    slimmable,
)
from anytimenet.nets.arguments import even_slices
from anytimenet.nets.chain.chain import ChainNet, Node
from anytimenet.nets.chain.exits import ExitNet
from anytimenet.nets.contract import AnytimeNet, Output, Part, Segment, State, TensorSpec
from anytimenet.nets.members.eann import EANN
from anytimenet.nets.registry import (
    NetEntry,
    build_on_meta,
    create_net,
    list_nets,
    net_entry,
    rebuild_net,
    register_net,
)
from anytimenet.nets.wrapped.taps import wrap

__all__ = [
    "EANN",
    "AnytimeNet",
    "ChainNet",
    "ExitNet",
    "NetEntry",
    "Node",
    "Output",
    "Part",
    "Segment",
    "State",
    "TensorSpec",
    "build_on_meta",
    "create_net",
    "even_slices",
    "list_nets",
    "net_entry",
    "rebuild_net",
    "register_net",
    "wrap",
]
