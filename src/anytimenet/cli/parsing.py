"""From the words of a command to the object of its verb: short help, and errors in one line."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import re
import types
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from anytimenet.cli.output import print_error, split_json_flag
from anytimenet.core.errors import suggest
from anytimenet.evaluation.text.units import parse_count

Count = Annotated[
    float,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NUMBER",
        instance_from_str=lambda words: parse_count(words[0]),
        is_instance=lambda value: isinstance(value, float),
        str_from_instance=lambda value: [f"{value:g}"],
    ),
]
"""A count as the tables print it: 1.5M, "1.499 M", 2e6."""
CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


def parse(verb: str, command: type, arguments: Sequence[str]) -> Any:
    """The command object, or its exit code where there is nothing to run: 0 after help, 2 after an error."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                shown(command),
                prog=f"anytimenet {verb}",
                description=inspect.getdoc(command),
                args=split_json_flag(arguments),
                config=CONFIG,
            )
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 2
        if code:
            what = in_one_line(said.getvalue())
            print_error(f"{what}{'' if what.endswith('?') else ';'} anytimenet {verb} --help explains")
        return code


def in_one_line(box: str) -> str:
    """What an error of the parser says, without its frame and its help.

    >>> in_one_line("+- Unrecognized options -+\\n| Unrecognized options: --epoch |\\n+-----------+")
    'Unrecognized options: --epoch'
    """
    lines = box.splitlines()
    framed = any(line.startswith(("│", "|")) for line in lines)
    if framed:  # the title is on the upper edge
        lines = [line.strip("│|")[1:] for line in lines if line.startswith(("│", "|"))]
    parts: list[list[str]] = [[]]
    for line in lines:
        if set(line.strip()) in ({"─"}, {"-"}):
            parts.append([])
        elif line.strip():
            parts[-1].append(line.rstrip())
    if not framed:  # as where the encoding has no frames: the title stands above a rule of its own
        parts = parts[1:] or parts
    said = " ".join(line.strip() for line in parts[0]) or " ".join(box.split())
    if said.startswith("Missing from"):
        margins = {line: len(line) - len(line.lstrip()) for line in parts[0][1:]}
        names = [line.strip() for line, margin in margins.items() if margin == min(margins.values())]
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
    if value := re.match(r"Error parsing (\S+): .* type matching (.*) could be .* from \['(.*?)'\]", said):
        return f"{value[1]} {value[3]}: {value[2].removeprefix('{None}|')} is needed"
    if choice := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", said):
        known = set(re.findall(r"'([^']*)'", choice[3])) - {"None"}
        flag = f"{choice[2]} " if choice[2].startswith("--") else ""
        return f"{flag}{choice[1]!r} is no choice: {suggest(choice[1], known)}"
    if lacking := re.match(r"Missing value for argument '(.*)'", said):
        return f"{lacking[1]} needs a value"
    flags = re.findall(r"(--[\w-]+)", " ".join(line for part in parts[1:-1] for line in part))
    return said.rstrip(".") + (f": did you mean {_nearest(said, flags)}?" if flags else "")


def _nearest(said: str, known: list[str]) -> str:
    """The flag most like the one that was not understood; the parser lists all that hold its letters."""
    typed = re.search(r"--[\w-]+", said)
    return max(known, key=lambda flag: SequenceMatcher(None, typed[0], flag).ratio()) if typed else known[0]


def flags_of(command: type, *, include_extras: bool = False) -> dict[str, Any]:
    """The names of all flags and positional words of a command, those of its groups too, and their types."""
    flags: dict[str, Any] = {}
    for name, hint in get_type_hints(command, include_extras=include_extras).items():
        group = isinstance(hint, type) and is_dataclass(hint)
        flags |= flags_of(hint, include_extras=include_extras) if group else {name: hint}
    return flags


@functools.cache
def shown(command: type) -> type:
    """The class as help shows it: with no word on flags that are off or unset when they are not given."""
    hints = get_type_hints(command, include_extras=True)
    for field in fields(command):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        several = default is MISSING and "tuple" in str(hints[field.name])
        if several or default is None or default is False or default == ():
            metavar = _metavar(hints[field.name])
            short = tyro.conf.arg(metavar=metavar, help_behavior_hint=_hint(hints[field.name]))
            command.__annotations__[field.name] = Annotated[hints[field.name], short]
    return command


def _hint(hint: Any) -> str:
    """What help says of the default of an optional flag: what its annotation says, or nothing."""
    said = [getattr(one, "help_behavior_hint", None) for one in getattr(hint, "__metadata__", ())]
    return next((word for word in said if isinstance(word, str)), "")


def _metavar(hint: Any) -> str | None:
    """What stands for the value of an optional flag: FLOAT, not {None}|FLOAT."""
    if get_origin(hint) is Annotated:
        given = [getattr(one, "metavar", None) for one in hint.__metadata__]
        return next((word for word in given if word), None) or _metavar(get_args(hint)[0])
    if get_origin(hint) not in (Union, types.UnionType):
        return None
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    words = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            words.append("|".join(map(str, get_args(kind))))
        elif kind is Count:
            words.append("NUMBER")
        elif kind in _METAVARS:
            words.append(_METAVARS[kind])
    return "|".join(words) if len(words) == len(kinds) else None
