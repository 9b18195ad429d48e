"""Exits on a net that stands already."""
