"""Batches that examples leave as soon as they are answered well enough."""
