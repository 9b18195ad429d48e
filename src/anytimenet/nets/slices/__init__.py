"""Nets that grow in slices: a later stage adds channels to what earlier ones computed."""
