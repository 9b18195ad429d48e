"""The machinery of nets that grow in depth: a graph of nodes with exits."""

from anytimenet.nets.chain.chain import ChainNet, Node

__all__ = ["ChainNet", "Node"]
