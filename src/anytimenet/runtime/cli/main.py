"""`python -m anytimenet.runtime`: verbs by name, errors in one line, exit codes that scripts can use."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from anytimenet.core.version import __version__
from anytimenet.runtime.cli.output import in_flags

VERBS = {
    "predict": ("predict", "answer images within budgets"),
    "profile": ("profile", "measure the latency of an exported net on this machine"),
}
"""By name: the module here, with `add_arguments(parser)` and `run(arguments)`, and what the verb does."""


class Verb(Protocol):
    """A module that is a verb."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> None: ...


def run(words: Sequence[str]) -> int:
    """Runs one command and returns its exit code.

    It is 0 when all was done, 1 where it failed, 2 where it was not understood, and 130 after an interrupt.
    """
    try:
        arguments = _parser(words).parse_args(words)
    except SystemExit as stop:  # after help, or after words that mean nothing
        return stop.code if isinstance(stop.code, int) else 2
    try:
        _module(arguments.verb).run(arguments)
    except KeyboardInterrupt:
        print("anytimenet.runtime: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("ANYTIMENET_DEBUG"):
            raise
        print(f"anytimenet.runtime: {in_flags(str(error), vars(arguments))}", file=sys.stderr)
        return 1
    return 0


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all verbs; of the one that is asked for, with its arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m anytimenet.runtime", description="Exported anytime nets on devices without PyTorch."
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (_, line) in VERBS.items():
        verb = verbs.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
        if name in words:
            _module(name).add_arguments(verb)
    return parser


def _module(verb: str) -> Verb:
    return cast(Verb, importlib.import_module(f"anytimenet.runtime.cli.{VERBS[verb][0]}"))
