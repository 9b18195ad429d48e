"""What the verbs print: JSON for programs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from anytimenet.core.files.writing import write_text

EXPORT = "folder that `anytimenet export` wrote, or its https URL"
"""What both verbs take first."""


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """The option `--json [FILE.json]`, as all verbs have it."""
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE.json",
        help=f"print {what} as JSON, or write it to a file",
    )


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
