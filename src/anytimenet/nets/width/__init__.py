"""Nets that grow in width: a later stage is a wider net of the same weights."""
