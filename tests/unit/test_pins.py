"""What users build on stays: the options of every verb, and the names that packages export.

`tests/data/options.txt` and `tests/data/public_names.txt` say what there is. Changing them is changing it for
users: do it on purpose, by `python tests/unit/test_pins.py`, and look at the difference before the commit.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
from pathlib import Path
from unittest.mock import patch

import pytest

import anytimenet
from anytimenet.cli.main import VERBS, _arguments, run

SOURCE = Path(anytimenet.__file__).parent
DATA = Path(__file__).resolve().parents[1] / "data"
ENTRY = re.compile(r"  (?P<name>-{0,2}[A-Za-z|][\w.|-]*)(?: (?P<kind>\S+(?: \S+)*))?(?:\s{2,}.*)?\s*")
DEFAULT = re.compile(r"\((default: .*?|required)\)\s*$")

POSITIONAL = {
    "quickstart": (),
    "train": ("recipe",),
    "evaluate": ("bundle",),
    "reestimate": ("bundle",),
    "join": ("bundles",),
    "profile": ("bundle",),
    "predict": ("bundle", "images"),
    "compare": ("runs",),
    "list": ("what", "pattern"),
    "info": ("name",),
}


def options(verb: str) -> list[str]:
    """A line an option, as the help of a verb shows them: name, kind of value, default."""
    printed = io.StringIO()
    wide = {"COLUMNS": "1000", "NO_COLOR": "1"}
    with contextlib.redirect_stdout(printed), patch.dict(os.environ, wide):
        assert run([verb, "--help"]) == 0
    lines: list[str] = []
    for row in printed.getvalue().splitlines():  # without frames, for a text in memory knows no encoding
        if (entry := ENTRY.fullmatch(row)) and "anytimenet" not in row[:14]:
            lines.append(f"{verb} {entry['name']} {entry['kind'] or ''}".rstrip())
        if lines and (default := DEFAULT.search(row)):
            lines[-1] += f" ({default[1]})"
    return sorted(lines)


def public_names() -> list[str]:
    """A line a name in the `__all__` of the package and of its rooms."""
    rooms = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
    modules = [anytimenet, *(importlib.import_module(f"anytimenet.{room}") for room in rooms)]
    return sorted(
        f"{module.__name__} {name}" for module in modules for name in getattr(module, "__all__", ())
    )


PINS = {
    "options.txt": lambda: [line for verb in VERBS for line in options(verb)],
    "public_names.txt": public_names,
}


@pytest.mark.parametrize("pin", PINS)
def test_nothing_that_users_build_on_has_changed_by_chance(pin):
    pinned = (DATA / pin).read_text(encoding="utf-8").splitlines()
    assert PINS[pin]() == pinned, "if it is meant: python tests/unit/test_pins.py"


@pytest.mark.parametrize("verb", VERBS)
def test_no_option_of_a_verb_is_overlooked(verb):
    shown = {line.split()[1] for line in options(verb)}
    for name in _arguments(verb):
        assert f"--{name.replace('_', '-')}" in shown or name in POSITIONAL[verb]


@pytest.mark.parametrize(
    "line",
    [
        "train --epochs INT",
        "evaluate --tolerance FLOAT (default: 0.0)",
        "join --out PATH (required)",
        "evaluate --mean-budgets [NUMBER [NUMBER ...]]",
    ],
)
def test_kinds_and_defaults_are_read(line):
    assert line in options(line.split()[0])


if __name__ == "__main__":
    for name, lines in PINS.items():
        (DATA / name).write_text("\n".join(lines()) + "\n", encoding="utf-8")
