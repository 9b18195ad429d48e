"""How well a small folder of images trains with default flags: right answers, into one JSON file.

python reproductions/small_data.py WORK --results FILE.json --name NAME --flags "--batch-size 16" --reestimate

Three times three digits (0 1 2, 3 4 5, 6 7 8) are written as images into one folder a class: 386 images, of
which `anytimenet train folder` trains on 243, chooses the epoch on 27 and sets 116 aside. Judged are the
latter and every other digit of the three classes, 264 to 276 images that the run has never seen, 807 in all.
With --reestimate the statistics are estimated anew on the trained net, and both are judged; with --plain
again on images that are not augmented.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shlex
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import anytimenet as an
from anytimenet.cli.main import run as command
from anytimenet.core.files.writing import write_json
from anytimenet.data import DataOptions, ImageSet, load_data
from anytimenet.evaluation import Report

TRIPLES = ((0, 1, 2), (3, 4, 5), (6, 7, 8))
IN_FOLDER = (129, 129, 128)


def write_folders(root: Path) -> None:
    """The folders of all triples, below `root`, and beside each the digits that are kept from it."""
    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    for triple in TRIPLES:
        for label, most in zip(triple, IN_FOLDER, strict=True):
            for place, image in enumerate(pixels[digits.target == label]):
                part = "folder" if place < most else "kept"
                path = root / _name(triple) / part / str(label) / f"{place:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)


def unseen(root: Path, triple: tuple[int, ...]) -> ImageSet:
    """What no run on that triple trains on or chooses by."""
    test = load_data(f"folder:{root / _name(triple) / 'folder'}", DataOptions()).test
    everything = DataOptions(test_fraction=0, val_fraction=0)
    kept = load_data(f"folder:{root / _name(triple) / 'kept'}", everything).train
    joined = (np.concatenate([getattr(part, name) for part in (test, kept)]) for name in ("images", "labels"))
    return ImageSet(*joined, (*(f"test/{n}" for n in test.names), *(f"kept/{n}" for n in kept.names)))


def rows(work: Path, name: str, flags: str, *, seeds: list[int], epochs: int, kinds: dict) -> list[dict]:
    """One row a run, with the number of right answers of each stage."""
    if not (work / "data").exists():
        write_folders(work / "data")
    found = []
    for triple in TRIPLES:
        images = unseen(work / "data", triple)
        for seed in seeds:
            out = work / "runs" / f"{name} {epochs}" / f"{_name(triple)}-{seed}"
            data = work / "data" / _name(triple) / "folder"
            line = ["train", "folder", "--data", f"folder:{data}", "--out", str(out), "--quiet"]
            line += ["--epochs", str(epochs), "--seed", str(seed), *shlex.split(flags)]
            with contextlib.redirect_stdout(io.StringIO()):
                if command(line):
                    raise SystemExit(f"the run in {out} failed")
            bundle = an.load(out)
            told = {"name": name, "digits": _name(triple), "seed": seed, "epochs": epochs}
            told["images"] = len(images)
            told["best_epoch"] = bundle.manifest.provenance["best_epoch"]
            found.append({**told, "reestimated": "", "right": _right(an.evaluate(bundle, images))})
            for kind, augmentation in kinds.items():
                again = an.reestimate(bundle, f"folder:{data}", augmentation=augmentation)
                found.append({**told, "reestimated": kind, "right": _right(an.evaluate(again, images))})
            print(json.dumps(found[-1]), flush=True)
    return found


def table(results: list[dict]) -> list[str]:
    """Mean accuracy of each stage in %, over all images and seeds."""
    lines = ["| run | epochs | stage 1 | 2 | 3 | 4 |", "|---|--:|--:|--:|--:|--:|"]
    kinds = dict.fromkeys((row["name"], row["epochs"], row["reestimated"]) for row in results)
    for name, epochs, again in kinds:
        mine = [r for r in results if (r["name"], r["epochs"], r["reestimated"]) == (name, epochs, again)]
        right = np.sum([row["right"] for row in mine], axis=0) / sum(row["images"] for row in mine)
        label = f"{name}, then reestimate {again}" if again else name
        lines.append(f"| {label} | {epochs} | " + " | ".join(f"{100 * share:.1f}" for share in right) + " |")
    return lines


def _right(report: Report) -> list[int]:
    return [round(stage.top1 * report.count) for stage in report.stages]


def _name(triple: tuple[int, ...]) -> str:
    return "".join(map(str, triple))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for images and runs")
    parser.add_argument("--results", type=Path, required=True, help="JSON file that rows are added to")
    parser.add_argument("--name", help="of these runs; without it the table is printed")
    parser.add_argument("--flags", default="", help="of `anytimenet train folder`")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--reestimate", action="store_true")
    parser.add_argument("--plain", action="store_true")
    given = parser.parse_args()
    results = json.loads(given.results.read_text()) if given.results.exists() else []
    if given.name:
        kinds = {"augmented": "trained"} if given.reestimate else {}
        kinds |= {"plain": None} if given.plain else {}
        options = {"seeds": given.seeds, "epochs": given.epochs, "kinds": kinds}
        results = [r for r in results if (r["name"], r["epochs"]) != (given.name, given.epochs)]
        results += rows(given.work, given.name, given.flags, **options)
        write_json(given.results, results)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
