"""How a bundle is shown in a notebook: a table of its stages."""

from __future__ import annotations

from anytimenet.core.html_table import html_table
from anytimenet.core.manifest.manifest import Manifest

_CLASSES = 10
"""So many names of classes are told."""


def stages_as_html(manifest: Manifest, name: str) -> str:
    """HTML of a table with a row a stage: what it costs, and how good it is.

    Args:
        manifest: of the bundle.
        name: what the bundle is called above the table.
    """
    records = manifest.stages
    accuracies = [record.val_accuracy for record in records]
    columns = [
        ("stage", [str(record.stage) for record in records]),
        ("multiply-adds", [f"{record.macs:,}" for record in records]),
        ("parameters", [f"{record.params:,}" for record in records]),
        ("validation %", ["-" if one is None else f"{100 * one:.1f}" for one in accuracies]),
    ]
    return html_table(columns, f"{name}, classes {', '.join(manifest.class_names[0][:_CLASSES])}")
