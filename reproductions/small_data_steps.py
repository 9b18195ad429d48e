"""How far running BatchNorm statistics lag behind precise ones, by the steps of the whole run.

python reproductions/small_data_steps.py --results reproductions/small_data/steps.json
python reproductions/small_data_steps.py --results reproductions/small_data/steps.json --table

One run gives both: the loop validates with precise statistics, and after every epoch the same weights are
judged with the running ones. Judged on images that are not trained on, none of which chooses anything.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import anytimenet as an
from anytimenet.core.files.writing import write_json
from anytimenet.data import Augmentation, ImageSet, Loader, load_data
from anytimenet.tasks import Classification
from anytimenet.training import Reporter, collect_logits, preset, train

SCHEDULES = {
    "fast": preset("fast"),  # what the recipe folder takes: a cosine from 0.2
    "paper": preset("paper"),  # what fit takes: 0.1, lowered twice
}
# Images, batch size, epochs, schedule, seeds: 36 to 1,440 steps, the longer ones over fewer seeds.
RUNS = (
    (243, 64, 12, "fast", 3),
    (243, 64, 48, "fast", 3),
    (243, 16, 3, "fast", 3),
    (243, 16, 12, "fast", 3),
    (243, 16, 12, "paper", 2),
    (243, 16, 24, "fast", 3),
    (243, 16, 48, "fast", 2),
    (243, 16, 48, "paper", 1),
    (243, 16, 96, "fast", 1),
    (1131, 64, 20, "fast", 2),
    (1131, 64, 60, "fast", 1),
)


class Both(Reporter):
    """Judges the net as it is after every epoch, with its running statistics."""

    def __init__(self, net: an.AnytimeNet, judged: Loader) -> None:
        super().__init__(quiet=True)
        self.net, self.judged, self.running = net, judged, []

    def epoch(self, number: int, loss: float, scores: list[float]) -> None:
        """One epoch is done."""
        logits, labels = collect_logits(self.net, self.judged)
        self.running.append([float((stage[0].argmax(1) == labels[:, 0]).mean()) for stage in logits])


def run(images: int, batch_size: int, epochs: int, schedule: str, seed: int) -> dict:
    """One run, with the accuracy of each stage after each epoch by both kinds of statistics."""
    digits = load_data("digits")
    classes = 3 if images < 1000 else 10
    known = [i for i, label in enumerate(digits.train.labels[:, 0]) if label < classes]
    others = [i for i, label in enumerate(digits.test.labels[:, 0]) if label < classes]
    left = digits.train.subset(known[images:])
    rest = digits.test.subset(others)
    judged = ImageSet(
        np.concatenate([rest.images, left.images]),
        np.concatenate([rest.labels, left.labels]),
        rest.names + left.names,
    )
    config = replace(
        SCHEDULES[schedule],
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        statistics="precise",
        device="cpu",
    )
    torch.manual_seed(seed)
    net = an.create_net("isresnext_small", classes, in_channels=1)
    batches = Loader(
        digits.train.subset(known[:images]),
        digits.preprocessing,
        batch_size=batch_size,
        augment=Augmentation(flip=False, pad=1),
        shuffle=True,
        seed=seed,
        drop_last=True,
    )
    loader = Loader(judged, digits.preprocessing, batch_size=256)
    both = Both(net, loader)
    result = train(net, batches, loader, Classification((classes,)), config, reporter=both)
    return {
        "images": images,
        "batch_size": batch_size,
        "schedule": schedule,
        "seed": seed,
        "steps": len(batches) * epochs,
        "judged": len(judged),
        "running": both.running,
        "precise": [record["val"] for record in result.history],
    }


def table(results: list[dict]) -> list[str]:
    """Means over seeds and stages, in %, and the largest loss of one stage of one seed, in points."""
    lines = [
        "| steps | images | batch | schedule | seeds | running | precise | worst | second half: worst |",
        "|--:|--:|--:|---|--:|--:|--:|--:|--:|",
    ]
    kinds = {(r["steps"], r["images"], r["batch_size"], r["schedule"]) for r in results}
    for kind in sorted(kinds):
        mine = [r for r in results if (r["steps"], r["images"], r["batch_size"], r["schedule"]) == kind]
        running, precise = (100 * np.array([r[name] for r in mine]) for name in ("running", "precise"))
        lost = precise - running  # (seeds, epochs, stages)
        late = lost[:, lost.shape[1] // 2 :]
        cells = [
            *map(str, kind),
            str(len(mine)),
            f"{running[:, -1].mean():.1f}",
            f"{precise[:, -1].mean():.1f}",
        ]
        cells += [f"{lost[:, -1].max():.1f}", f"{late.max():.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="JSON file that runs are added to")
    parser.add_argument("--table", action="store_true", help="print what is there, and run nothing")
    given = parser.parse_args()
    results = json.loads(given.results.read_text()) if given.results.exists() else []
    done = {(r["steps"], r["images"], r["batch_size"], r["schedule"], r["seed"]) for r in results}
    plan = [(*one[:4], seed) for one in RUNS for seed in range(one[4])]
    for images, batch_size, epochs, schedule, seed in sorted(plan, key=lambda p: p[0] // p[1] * p[2]):
        steps = images // batch_size * epochs
        if given.table or (steps, images, batch_size, schedule, seed) in done:
            continue
        results.append(run(images, batch_size, epochs, schedule, seed))
        write_json(given.results, results)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
