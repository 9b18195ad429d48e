"""What the verbs print: JSON for programs, text for people, one line for an error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from anytimenet.core.checks import MOST_WORKERS, whole_number
from anytimenet.core.files.writing import write_text


class NotUnderstoodError(ValueError):
    """A command that says too little or too much to be run, as the parser would say it."""


def emit_json(value: Any, target: str) -> None:
    """Writes JSON to standard output ("-") or atomically to a file. A list becomes one line an entry."""
    if isinstance(value, list):
        text = "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in value)
    else:
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_text(Path(target), text)


def emit(json: str | None, value: Any) -> bool:
    """Writes the JSON that `--json` asks for, if it was given.

    Returns:
        Whether standard output is free for what people read.
    """
    if json is not None:
        emit_json(value, json)
    return json != "-"


def print_error(error: object) -> None:
    """One paragraph on standard error."""
    print(f"anytimenet: {error}", file=sys.stderr)


@contextmanager
def warnings_once() -> Iterator[None]:
    """Inside, a warning of the library is one line on standard error, however often it comes.

    A command may read the same images several times: to train, to evaluate, to estimate statistics.
    """
    said: set[str] = set()

    def new(record: logging.LogRecord) -> bool:
        text, before = record.getMessage(), len(said)
        said.add(text)
        return len(said) > before

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("anytimenet: %(message)s"))
    handler.addFilter(new)
    logger = logging.getLogger("anytimenet")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def check_threads(threads: int) -> int:
    """`threads`. Raises ValueError unless it is a number of threads that a machine can have."""
    return whole_number(threads, "threads", 1, MOST_WORKERS)


def refuse(command: Any, names: Sequence[str], why: str) -> None:
    """Raises ValueError for a flag of these names that is not what it is by default."""
    for field in fields(command):
        if field.name in names and getattr(command, field.name) != field.default:
            raise ValueError(f"--{field.name.replace('_', '-')} {why}")


def split_json_flag(arguments: Sequence[str]) -> list[str]:
    """Lets `--json` stand alone (standard output) or before a file that ends in .json or .jsonl.

    >>> split_json_flag(["info", "--json", "resnet_20"])
    ['info', '--json', '-', 'resnet_20']
    >>> split_json_flag(["info", "resnet_20", "--json", "out.json"])
    ['info', 'resnet_20', '--json', 'out.json']
    """
    result: list[str] = []
    for i, argument in enumerate(arguments):
        result.append(argument)
        following = arguments[i + 1] if i + 1 < len(arguments) else ""
        if argument == "--json" and not (following == "-" or following.endswith((".json", ".jsonl"))):
            result.append("-")
    return result
