"""`python -m anytimenet.runtime profile EXPORT`."""

from __future__ import annotations

import argparse
from pathlib import Path

from anytimenet.runtime.backends.backend import Placement
from anytimenet.runtime.cli.output import EXPORT, add_json, emit
from anytimenet.runtime.delivery.loading import load
from anytimenet.runtime.profiling.exported import profile_exported
from anytimenet.runtime.profiling.text import table_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("export", metavar="EXPORT", help=EXPORT)
    parser.add_argument(
        "--backend", metavar="NAME", help="what runs it; by default what the files are made for"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of one run (default: 1)")
    parser.add_argument("--device", default="cpu", help="where to measure (default: cpu)")
    parser.add_argument("--dtype", default="float32", help="number format (default: float32)")
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[1], metavar="N", help="images in a batch (default: 1)"
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="time to spend (default: 1)")
    parser.add_argument(
        "--image", type=Path, help="a file that is typical of what will be asked; by default one is made up"
    )
    add_json(parser, "the cost table")


def run(arguments: argparse.Namespace) -> None:
    """Measures, keeps the table in the folder, prints."""
    net = load(
        arguments.export,
        backend=arguments.backend,
        placement=Placement(arguments.device, arguments.threads, arguments.dtype),
    )
    table = profile_exported(
        net, batch_sizes=arguments.batch_sizes, minutes=arguments.minutes, image=arguments.image
    )
    if emit(arguments.json, table.to_json()):
        print(table_text(table))
