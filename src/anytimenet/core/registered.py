"""What is registered in this package by name, without building or importing any of it.

`registered.json` is written by `docs/reference/generate_registered.py` from the registries, and a test
compares. A list of nets and a look at what one costs then need neither torch nor seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

from anytimenet.core.errors import suggest

Kind = Literal["nets", "recipes", "schemes", "data"]
TABLE = Path(__file__).with_name("registered.json")


def registered(kind: Kind) -> list[dict[str, Any]]:
    """The records of one kind, sorted by name (data in the order of the catalogue), with the keys of
    `anytimenet list --json`. Those of nets also have `costs`: what `anytimenet info NAME` tells.

    >>> [record["name"] for record in registered("nets") if record["name"].startswith("isresnext_4")]
    ['isresnext_47']
    """
    return _table()[kind]


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    table: dict[str, list[dict[str, Any]]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


_IS_A = {"nets": "a net", "recipes": "a recipe", "schemes": "a scheme", "data": "data"}
_CURES: dict[tuple[str, str], str] = {
    ("recipes", "nets"): "take the recipe folder with net={name!r} and data='folder:PATH'",
    ("recipes", "data"): "take the recipe folder with data={name!r}",
    ("recipes", "schemes"): "take a recipe, such as digits, with scheme={name!r}",
}
"""What to do with a name of one kind that was given where another is wanted."""


def unknown(name: str, wanted: Kind, known: Iterable[str]) -> str:
    """The end of a message on an unknown name: what it is instead and what to do, or the nearest known ones.

    >>> unknown("isresnext_small", "recipes", ["digits"])
    "it is a net: take the recipe folder with net='isresnext_small' and data='folder:PATH'"
    >>> unknown("digtis", "recipes", ["digits"])
    "did you mean 'digits'?"
    """
    for kind, what in _IS_A.items():
        for record in registered(kind) if kind != wanted else ():  # type: ignore[arg-type]
            if name == record["name"] or (kind == "data" and _same_kind(name, record["name"])):
                cure = _CURES.get((wanted, kind), f"the name of {_IS_A[wanted]} is needed here")
                return f"it is {what}: {cure.format(name=name)}"
    return suggest(name, known)


def kind_of(name: str) -> str | None:
    """What a registered name is, in words; None for any other.

    >>> kind_of("isresnext_small"), kind_of("photos")
    ('a net', None)
    """
    for kind, what in _IS_A.items():
        if any(record["name"] == name for record in registered(kind)):  # type: ignore[arg-type]
            return what
    return None


def _same_kind(name: str, known: str) -> bool:
    """Whether both name data that lies at a path, such as folder:pets and folder:PATH."""
    return ":" in name and name.partition(":")[0] == known.partition(":")[0]
