"""The engine's full pass on images of 224x224 beside other runtimes; NATIVE_NETS takes some of the nets."""

from __future__ import annotations

from typing import Any

from native.engine import measure_nets

NAME = "native-photographs"
NETS = ("efficientnet_lite0", "isresnext_62_imagenet")


def measure(rounds: int) -> dict[str, Any]:
    """As `native/engine` does it."""
    return measure_nets(NETS, rounds)
