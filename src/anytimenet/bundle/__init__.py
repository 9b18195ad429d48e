"""The saved net: weights, how to rebuild it, labels, preprocessing, accuracies and cost tables."""

from anytimenet.bundle.bundle import Bundle, load

__all__ = ["Bundle", "load"]
