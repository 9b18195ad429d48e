"""Nets leave Python: segments as files of other engines, with weights stored once; needs PyTorch."""

from anytimenet.export.folder import export as export
