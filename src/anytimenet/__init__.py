"""Anytime neural prediction: train one network, answer within any budget."""

__version__ = "0.1.0"
