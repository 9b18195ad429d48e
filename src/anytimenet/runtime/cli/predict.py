"""`python -m anytimenet.runtime predict EXPORT IMAGE ...`."""

from __future__ import annotations

import argparse
import json
import sys

from anytimenet.core.answers.prediction_record import prediction_record, remarks
from anytimenet.core.errors import DataError
from anytimenet.core.images.sources import image_paths, names_many
from anytimenet.runtime.backends.backend import Placement
from anytimenet.runtime.cli.output import EXPORT
from anytimenet.runtime.delivery.loading import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("export", metavar="EXPORT", help=EXPORT)
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="image files, folders of them, or quoted patterns"
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--deadline-ms",
        type=float,
        help="answer each image in so many milliseconds, reading included; needs what `profile` measures",
    )
    budget.add_argument("--budget-macs", type=float, help="the best stage whose multiply-adds fit answers")
    budget.add_argument("--stage", type=int, help="the stage that answers")
    budget.add_argument(
        "--target-accuracy", type=float, help="the cheapest stage whose validated accuracy is that answers"
    )
    parser.add_argument("--backend", metavar="NAME", help="what runs it; by default what the files are for")
    parser.add_argument("--threads", type=int, default=1, help="threads of one run (default: 1)")
    parser.add_argument("--json", action="store_true", help="print an object a line")


def run(arguments: argparse.Namespace) -> None:
    """Answers one image after the other."""
    images = [
        path for given in arguments.images for path in (image_paths(given) if names_many(given) else [given])
    ]
    net = load(arguments.export, backend=arguments.backend, placement=Placement(threads=arguments.threads))
    predictor = net.predictor()
    bad = 0
    for path in images:
        try:
            answer = predictor.predict(
                path,
                deadline_ms=arguments.deadline_ms,
                budget_macs=arguments.budget_macs,
                stage=arguments.stage,
                target_accuracy=arguments.target_accuracy,
            )
        except DataError as error:  # of this image alone
            bad += 1
            if arguments.json:
                print(json.dumps({"image": path, "error": str(error)}), flush=True)
            else:
                print(f"anytimenet.runtime: {error}", file=sys.stderr)
            continue
        if arguments.json:
            print(json.dumps(prediction_record(path, answer), allow_nan=False), flush=True)
        else:
            print(
                f"{path}: {answer.label} ({100 * answer.probability:.1f} %) by stage {answer.stage}, "
                f"{answer.elapsed_ms:.2f} ms{remarks(answer)}",
                flush=True,
            )
    if bad:
        raise DataError(f"{bad} of {len(images)} images could not be predicted: remove or replace them")
