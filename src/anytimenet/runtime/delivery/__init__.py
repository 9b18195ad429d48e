"""Nets that answer while the rest of them is on its way."""
