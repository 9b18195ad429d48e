"""Pretrained nets with exits under three regimes, and static nets beside them: right answers in a CSV file.

python reproductions/regimes.py CIFAR WORK --csv FILE.csv [--runs frozen joint] [--seeds 1 2 3]

CIFAR is a folder with train/ and test/, one sub-folder of images a class. The first 500 training and 200 test
images of each class are taken, resized to 112 pixels; a tenth of the former, drawn from the seed, chooses the
epoch. Every run starts from EfficientNet-Lite0's weights on ImageNet. `static K` is stage K alone: a net with
one predictor. Rows of the same run and seed in the file are replaced.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import time
from dataclasses import replace
from pathlib import Path

import torch

import anytimenet as an
from anytimenet.core.files.writing import write_text
from anytimenet.data import Augmentation
from anytimenet.training import TrainConfig, preset

NET, SIDE, EPOCHS = "efficientnet_lite0", 112, 3
TAKEN = {"train": 500, "test": 200}
STATIC = {"static 4": 4, "static 5": 5}
RUNS = ("frozen", "joint", "mixed", *STATIC)
COLUMNS = ("run", "seed", "stage", "macs", "params", "top1", "best_epoch", "cpu_seconds")


def take(images: Path, folder: Path) -> Path:
    """Links to the first images of each class, below `folder`."""
    for part, most in TAKEN.items():
        for place in sorted((images / part).iterdir()):
            target = folder / part / place.name
            if target.exists():
                continue
            target.mkdir(parents=True)
            for image in sorted(place.iterdir())[:most]:
                os.symlink(image.resolve(), target / image.name)
    return folder


def config_of(run: str, seed: int) -> TrainConfig:
    """The preset for pretrained nets, shortened; its scheme sums the losses of all stages."""
    regime = "joint" if run in STATIC else run
    return replace(preset("pretrained"), epochs=EPOCHS, regime=regime, seed=seed)


def rows(folder: Path, run: str, seed: int) -> list[dict[str, object]]:
    """One run: what each stage costs, and how many of the test images it knows."""
    torch.manual_seed(seed)
    net = an.create_net(NET, num_classes=10, pretrained=True)
    data = an.load_data(f"folder:{folder}", image_size=SIDE, seed=seed, pretraining=net.pretraining)
    if run in STATIC:
        net = net.keep([STATIC[run]])
    config, started = config_of(run, seed), time.process_time()
    bundle = an.fit(net, data, config=config, augmentation=Augmentation(flip=True, pad=8))
    seconds = time.process_time() - started
    told = {"best_epoch": bundle.manifest.provenance["best_epoch"], "cpu_seconds": round(seconds)}
    stages = an.evaluate(bundle, data.test).stages
    return [
        {
            "run": run,
            "seed": seed,
            "stage": s.stage,
            "macs": s.macs,
            "params": s.params,
            "top1": s.top1,
            **told,
        }
        for s in stages
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="CIFAR-10 as folders")
    parser.add_argument("work", type=Path, help="folder for links to the images that are taken")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = take(given.images, given.work / "images")
    for seed in given.seeds:
        for run in given.runs:
            add(given.csv, rows(folder, run, seed))
            print(given.csv.read_text(encoding="utf-8").splitlines()[-1], flush=True)


def add(path: Path, found: list[dict[str, object]]) -> None:
    """Writes the rows into the file, in the place of those of the same run and seed, in the order of RUNS."""
    kept = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            kept = list(csv.DictReader(file))
    new = {(str(row["run"]), str(row["seed"])) for row in found}
    everything = [row for row in kept if (row["run"], row["seed"]) not in new] + found
    everything.sort(
        key=lambda row: (RUNS.index(str(row["run"])), int(str(row["seed"])), int(str(row["stage"])))
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(everything)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


if __name__ == "__main__":
    main()
