"""Architectures and the contract that they all keep."""

from anytimenet.nets import iresnext, isresnext, resnet, resnext  # noqa: F401  (registers the names)
from anytimenet.nets.arguments import even_slices
from anytimenet.nets.contract import AnytimeNet, Output, Part, Segment, State, TensorSpec
from anytimenet.nets.registry import NetEntry, create_net, list_nets, net_entry, rebuild_net, register_net

__all__ = [
    "AnytimeNet",
    "NetEntry",
    "Output",
    "Part",
    "Segment",
    "State",
    "TensorSpec",
    "create_net",
    "even_slices",
    "list_nets",
    "net_entry",
    "rebuild_net",
    "register_net",
]
