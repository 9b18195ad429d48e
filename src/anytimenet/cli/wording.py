"""Errors of the library in the words of the command line.

The library speaks Python, also where it says what to do: `skip_bad=True`, `out=FOLDER`,
`DataOptions(limit=100)`, `an.reestimate(bundle)`. Write every message so, with placeholders in capitals. What
the command line prints goes through `in_flags`, which turns arguments into flags and calls into commands. It
knows
- `name=VALUE` where `name` is a flag of the verb that ran, or else of `train`;
- such a name alone where it has an underscore, or where it begins the message ("epochs must be ...");
- an options object around such arguments;
- the calls of `_COMMANDS`.
Everything in quotes or in a path is the user's own and stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_COMMANDS = {
    "an.reestimate(bundle)": "anytimenet reestimate BUNDLE --out FOLDER",
    "an.choose_exits(bundle)": "anytimenet exits BUNDLE",
    "an.profile(bundle)": "anytimenet profile BUNDLE",
    "an.list_nets()": "anytimenet list nets",
    "recipes.run_alone": "--alone",
    "trust_paths=True": "--trained-data",
    "import MODULE": "anytimenet --import MODULE ...",
}
"""What is no argument in Python."""
_WORDS = {"None": "none", "False": "no"}
_OPTIONS = "DataOptions|TrainConfig|Augmentation|LargeImageAugmentation|MaskAugmentation|Mixing|Experiment"
_VALUE = r"""'[^']*'|"[^"]*"|\([^()]*\)|\.\.\.|[\w:/+*-]+(?:\.[\w:/+*-]+)*"""
_ARGUMENT = re.compile(
    rf"""(?<![\w./\\'"=-])(?P<name>[a-z]\w*)(?:=(?P<value>{_VALUE}))?(?![\w/\\'"(=-]|\.\w)"""
)
_OBJECT = re.compile(rf"\b(?:an\.)?(?:{_OPTIONS})\((?P<arguments>\w+=[^()]*)\)")
_FIRST = re.compile(r"(?P<name>[a-z][a-z0-9]*)(?= must | is too | does not |: | ['\d-])")


def in_flags(message: str, flags: Collection[str], train_flags: Collection[str] = ()) -> str:
    """`message` with flags where it names Python's arguments.

    Args:
        message: of an error of the library.
        flags: arguments that are flags of the verb that ran, by their names in Python.
        train_flags: those of `train`, for advice that concerns the training of a bundle.

    >>> in_flags("remove them, or leave them out with skip_bad=True", ["skip_bad"])
    'remove them, or leave them out with --skip-bad'
    >>> in_flags("give DataOptions(image_size=32)", ["image_size"])
    'give --image-size 32'
    >>> in_flags("the net was trained on all of them (val_fraction=0)", ["split"], ["val_fraction"])
    'the net was trained on all of them (train --val-fraction 0)'
    """
    for call, command in _COMMANDS.items():
        message = message.replace(call, command)
    if (first := _FIRST.match(message)) and first["name"] in flags:
        message = f"{_flag(first['name'])}{message[first.end() :]}"

    def argument(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if (name not in flags and name not in train_flags) or (value is None and "_" not in name):
            return match[0]
        return ("" if name in flags else "train ") + _flag(name, value)

    def unwrapped(match: re.Match[str]) -> str:
        inner = [_ARGUMENT.fullmatch(part.strip()) for part in match["arguments"].split(", ")]
        words = [argument(part) for part in inner if part is not None]
        known = len(words) == len(inner) and all(word.startswith(("--", "train --")) for word in words)
        return " ".join(words) if known else match[0]

    return _ARGUMENT.sub(argument, _OBJECT.sub(unwrapped, message))


def _flag(name: str, value: str | None = None) -> str:
    flag = f"--{name.replace('_', '-')}"
    if value in (None, "True"):
        return flag
    assert value is not None
    if value.startswith("("):  # sizes, height first
        return f"{flag} {'x'.join(part.strip() for part in value.strip('()').split(',') if part.strip())}"
    return f"{flag} {_WORDS.get(value, value.strip(chr(39) + chr(34)))}"
