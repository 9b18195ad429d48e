"""The machinery of nets that grow in depth: a graph of nodes with exits."""

from anytimenet.nets.chain.blocks import ChainBlock, ChainHead, Node
from anytimenet.nets.chain.chain import ChainNet

__all__ = ["ChainBlock", "ChainHead", "ChainNet", "Node"]
