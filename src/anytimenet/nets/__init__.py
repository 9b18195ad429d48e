"""Architectures and the contract that they all keep."""

from anytimenet.nets import iresnext, isresnext  # noqa: F401  (importing a family registers its names)
from anytimenet.nets.contract import AnytimeNet, Origin, Output, Part, Segment, State, TensorSpec
from anytimenet.nets.registry import NetEntry, create_net, list_nets, net_entry, rebuild_net, register_net

__all__ = [
    "AnytimeNet",
    "NetEntry",
    "Origin",
    "Output",
    "Part",
    "Segment",
    "State",
    "TensorSpec",
    "create_net",
    "list_nets",
    "net_entry",
    "rebuild_net",
    "register_net",
]
