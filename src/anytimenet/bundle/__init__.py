"""The saved net: weights, how to rebuild it, labels, preprocessing, accuracies and cost tables."""

from anytimenet.bundle.backends.registered import register
from anytimenet.bundle.bundle import Bundle
from anytimenet.bundle.loading import load

register()

__all__ = ["Bundle", "load"]
