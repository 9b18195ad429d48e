"""What users build on stays: the options of every verb, and the names that packages export.

`tests/data/options.txt` and `tests/data/public_names.txt` say what there is. Changing them is changing it for
users: do it on purpose, by `python tests/unit/test_pins.py`, and look at the difference before the commit.
"""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path

import pytest
import tyro

import anytimenet
from anytimenet.cli.main import VERBS, _arguments, _command
from anytimenet.cli.parsing import CONFIG, shown

SOURCE = Path(anytimenet.__file__).parent
DATA = Path(__file__).resolve().parents[1] / "data"
DEFAULT = re.compile(r" \((default: .*?|required)\)$")
POSITIONAL = {
    "quickstart": (),
    "train": ("recipe",),
    "evaluate": ("bundle",),
    "exits": ("bundle",),
    "reestimate": ("bundle",),
    "join": ("bundles",),
    "slice": ("bundle",),
    "export": ("bundle",),
    "page": ("export",),
    "profile": ("bundle",),
    "bench": ("bundle",),
    "predict": ("bundle", "images"),
    "serve": ("models",),
    "simulate": ("folder",),
    "compare": ("runs",),
    "list": ("what", "pattern"),
    "info": ("name",),
    "completion": ("shell",),
}


def options(verb: str) -> list[str]:
    """A line an option, as the help of a verb shows them: name, kind of value, default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # an example of what its help is made from
        parser = tyro.extras.get_parser(shown(_command(verb)), config=CONFIG)
    lines = []
    for action in parser._actions:
        name = next(iter(action.option_strings), "")
        default = DEFAULT.search(str(action.help).strip())
        words = [verb, name, str(action.metavar or ""), default[0].strip() if default else ""]
        lines.append(" ".join(word for word in words if word))
    return sorted(line for line in lines if line != f"{verb} -h")


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
        "train --epochs INT (default: the recipe's)",
        "train --seeds N,N,...",
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
