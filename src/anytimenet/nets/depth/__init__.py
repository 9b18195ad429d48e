"""Nets that grow in depth: a later stage computes further layers."""
