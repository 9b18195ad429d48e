"""Weights that nets start from: read out of installed packages, checked, kept without pickle."""
