"""Accuracy over cost, and what follows from a curve."""
