"""What the verbs print: JSON for programs."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from anytimenet.core.files.writing import write_text

EXPORT = "folder that `anytimenet export` wrote, or its https URL"
"""What both verbs take first."""


_ARGUMENT = re.compile(
    r"""(?<![\w./\\'"=-])(?P<name>[a-z]\w*)(?:=(?P<value>'\w+'|\w+))?(?![\w/\\'"(=-]|\.\w)"""
)
"""An argument by its name in Python; what stands in quotes or in a path is the user's own."""


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """The option `--json [FILE.json]`, as all verbs have it."""
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE.json",
        help=f"print {what} as JSON, or write it to a file",
    )


def in_flags(message: str, arguments: Collection[str]) -> str:
    """`message` of the library with flags where it names an argument in Python.

    >>> in_flags("deadline_ms needs threads=2; give stage=K", ["deadline_ms", "threads", "stage"])
    '--deadline-ms needs --threads 2; give --stage K'
    >>> in_flags("stage must be from 1 to 4, not 9", ["stage"])
    '--stage must be from 1 to 4, not 9'
    """
    message = message.replace("`an.profile(bundle)` and", "`python -m anytimenet.runtime profile EXPORT` and")
    message = message.replace(", or without PyTorch with `python -m anytimenet.runtime profile`", "")

    def flag(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        said = value is not None or "_" in name or match.start() == 0
        if name not in arguments or not said:
            return match[0]
        return f"--{name.replace('_', '-')}" + ("" if value is None else f" {value.strip(chr(39))}")

    return _ARGUMENT.sub(flag, message)


def emit(target: str | None, value: Any) -> bool:
    """Writes the JSON that `--json` asks for, if it was given.

    Returns:
        Whether standard output is free for what people read.
    """
    if target is not None:
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        if target == "-":
            sys.stdout.write(text)
        else:
            write_text(Path(target), text)
    return target != "-"
