"""The saved net: weights, how to rebuild it, labels, preprocessing, accuracies and cost tables."""

from anytimenet.bundle.bundle import Bundle

__all__ = ["Bundle"]
