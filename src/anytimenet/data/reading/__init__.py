"""Pixels out of files: decoded, surveyed, kept in a cache."""
