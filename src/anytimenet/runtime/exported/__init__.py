"""Exported folders: segments as files that engines run, read and checked without PyTorch."""
