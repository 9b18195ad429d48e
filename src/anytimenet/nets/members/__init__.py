"""Nets one after the other."""
