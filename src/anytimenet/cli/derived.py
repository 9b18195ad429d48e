"""Flags that are the fields of configurations: a dataclass says what a field is, the command line follows.

`flags.json` is written from the dataclasses by `docs/reference/generate_flags.py`, and a test compares: help,
errors and completion need neither torch nor seconds.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import field, fields, make_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

TABLE = Path(__file__).with_name("flags.json")
OF_RECIPE = "(default: the recipe's)"
"""What help says of a flag that leaves a recipe as it is where it is not given."""
_KINDS: dict[str, tuple[Any, str]] = {
    "int": (int, "INT"),
    "float": (float, "FLOAT"),
    "text": (str, "TEXT"),
    "path": (Path, "PATH"),
    "several float": (tuple[float, ...], "FLOAT ..."),
    "yes_no": (Literal["yes", "no"], "yes|no"),
    "size": (str, "N|HxW"),
    "pixel": (str, "N|none"),
    "taxonomy": (str, "FILE|nested|own"),
}
"""What a word of the table stands for: a type, and what help calls its values."""
C = TypeVar("C")


class Derived:
    """A group of such flags; what was not given is None, or False for a switch."""

    def given(self) -> dict[str, Any]:
        """The fields that were given, as the configuration has them.

        Raises:
            DataError: for a size or a pixel value that is none.
        """
        flags = [(one.metadata["of"], getattr(self, one.name)) for one in fields(self)]  # type: ignore[arg-type]
        return {
            record.get("field", record["name"]): _read(record["kind"], value)
            for record, value in flags
            if value is not None and value is not False
        }

    def change(self, configuration: C) -> C:
        """The configuration with what was given."""
        return replace(configuration, **self.given())  # type: ignore[type-var]


def derived(
    title: str, *names: str, leave_out: Collection[str] = (), default: str = OF_RECIPE
) -> type[Derived]:
    """A group of the flags of these entries of the table; of fields with one name the first is taken.

    Args:
        title: says in help what the group is for.
        names: of configurations.
        leave_out: fields that are no flags, or flags of their own.
        default: what help says of a flag that is not given, where the table has no default.
    """
    records: dict[str, dict[str, Any]] = {}
    for record in (record for name in names for record in _table()[name]):
        records.setdefault(record["name"], record)
    made = make_dataclass(
        "Flags",
        [_flag(record, default) for record in records.values() if record["name"] not in leave_out],
        bases=(Derived,),
        frozen=True,
    )
    made.__doc__ = title
    return made


def _flag(record: dict[str, Any], default: str) -> tuple[str, Any, Any]:
    kind, switch = record["kind"], record["kind"] == "switch"
    words = isinstance(kind, list)
    hint, metavar = (
        (Literal[tuple(kind)], "|".join(map(str, kind))) if words else _KINDS.get(kind, (bool, None))
    )
    default = f"(default: {record['default']})" if "default" in record else default
    shown = tyro.conf.arg(help=record["help"], metavar=metavar, help_behavior_hint=default)
    unset = field(default=False if switch else None, metadata={"of": record})
    return record["name"], Annotated[hint if switch else hint | None, shown], unset


def _read(kind: Any, value: Any) -> Any:
    if kind == "yes_no":
        return value == "yes"
    if kind in ("size", "pixel"):
        from anytimenet.data import parse_ignore_index, parse_image_size

        return (parse_image_size if kind == "size" else parse_ignore_index)(value)
    return value


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    return json.loads(TABLE.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
