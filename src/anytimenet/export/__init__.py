"""Nets leave Python: segments as files of other engines, with weights stored once; needs PyTorch."""

from anytimenet.export.folder import export as export
from anytimenet.export.single_file import export_single_file as export_single_file
