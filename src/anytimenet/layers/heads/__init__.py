"""Heads: what predicts from the features of one stage, one linear layer for each label level."""

from anytimenet.layers.heads.named import HEADS, HeadConfig, build_head, default_head, is_channels_last
from anytimenet.layers.heads.pooling import Head, LevelHead, PooledHead, TokenHead

__all__ = [
    "HEADS",
    "Head",
    "HeadConfig",
    "LevelHead",
    "PooledHead",
    "TokenHead",
    "build_head",
    "default_head",
    "is_channels_last",
]
