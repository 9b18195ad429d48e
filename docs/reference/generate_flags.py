"""Writes src/anytimenet/cli/flags.json from the configuration dataclasses: their fields as flags.

python docs/reference/generate_flags.py            writes the file
python docs/reference/generate_flags.py --check    exits with 1 if the file is not what would be written

A flag is a field; its help is the first sentence that the docstring of the class has on the field, without
what it says of None.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from page_file import write_or_check

from anytimenet.cli.derived import TABLE
from anytimenet.core.images.decoding import RESAMPLE
from anytimenet.data import Augmentation, DataOptions, LargeImageAugmentation, MaskAugmentation, Mixing
from anytimenet.evaluation import PlotOptions
from anytimenet.training import TrainConfig
from anytimenet.training.config import _PRESETS
from anytimenet.workflows import Reading

CONFIGURATIONS = (
    TrainConfig,
    DataOptions,
    Augmentation,
    LargeImageAugmentation,
    MaskAugmentation,
    Mixing,
    Reading,
    PlotOptions,
)
KINDS: dict[Any, str] = {int: "int", float: "float", str: "text", Path: "path"}
PRESET = "Take optimiser and schedule from this preset; the official ones also start as PyTorch's layers do."
FLAGS = {
    "trust_paths": {"name": "trained_data", "field": "trust_paths"},
    "device": {"kind": ["auto", "cpu", "cuda"], "default": "auto"},
}
"""Of `Reading`: what the flag is where it is not the field."""
OWN_KINDS = {
    "bundle": "bundle",
    "data": "text",
    "image_size": "size",
    "ignore_index": "pixel",
    "taxonomy": "taxonomy",
    "scheme": "scheme",
    "channels": [1, 3],
    "resample": list(RESAMPLE),
}
"""Fields whose type says less than is known, or of several types."""


def table() -> str:
    """The whole file: one line a field, so that a change shows where it is."""
    parts = []
    for name, records in entries().items():
        lines = ",\n".join(json.dumps(record) for record in records)
        parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return "{" + ",\n".join(parts) + "}\n"


def entries() -> dict[str, list[dict[str, Any]]]:
    """The records of every configuration; where one speaks of another field, its flag is named."""
    every = {one.__name__: records(one) for one in CONFIGURATIONS}
    known = {record["name"] for listed in every.values() for record in listed}
    for record in (record for listed in every.values() for record in listed):
        record["help"] = re.sub(
            r"`(\w+)`",
            lambda found: f"--{found[1].replace('_', '-')}" if found[1] in known else found[0],
            record["help"],
        )
    # In Python its name is a warning, on the command line an offer; of other devices the command knows none.
    every["Reading"] = [
        record | FLAGS.get(record["name"], {}) for record in every["Reading"] if record["name"] != "bundle"
    ]
    for record, field in zip(every["PlotOptions"], fields(PlotOptions), strict=True):
        if field.default and field.name not in ("width_in", "height_in"):  # they follow the number of curves
            record["default"] = field.default
    return {"preset": [{"name": "preset", "kind": list(_PRESETS), "help": PRESET}], **every}


def records(configuration: type) -> list[dict[str, Any]]:
    """Name, kind and help of each field."""
    hints, docs = get_type_hints(configuration), field_docs(configuration)
    return [
        {"name": field.name, "kind": kind(field, hints[field.name]), "help": docs[field.name]}
        for field in fields(configuration)
    ]


def kind(field: Any, hint: Any) -> Any:
    """What a flag takes: a word for a type, a list of choices, or "several" of a type."""
    if field.name in OWN_KINDS:
        return OWN_KINDS[field.name]
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(one for one in get_args(hint) if one is not types.NoneType)
    if hint is bool:  # what is off is switched on, and what is on may be switched off
        return "switch" if field.default is False else "yes_no"
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if get_origin(hint) is tuple:
        return f"several {KINDS[get_args(hint)[0]]}"
    assert field.default is not MISSING
    return KINDS[hint]


def field_docs(configuration: type) -> dict[str, str]:
    """The first sentence on each field in the section of the docstring that lists them."""
    text = inspect.getdoc(configuration) or ""
    (section,) = re.findall(r"^(?:Args|Attributes):\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    entries = re.findall(r"^    (\w+): (.*(?:\n      .*)*)", section, re.MULTILINE)
    return {name: first_sentence(" ".join(said.split())) for name, said in entries}


def first_sentence(text: str) -> str:
    """The help of a flag: a sentence of its own."""
    sentence = re.split(r"(?<=[^.])\.(?= |$)|; None ", text)[0]
    return f"{sentence[0].upper()}{sentence[1:]}."


if __name__ == "__main__":
    write_or_check(TABLE, table())
