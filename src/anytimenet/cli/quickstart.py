"""`anytimenet quickstart`: from nothing to predictions before deadlines in a minute."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anytimenet.bundle import Bundle
    from anytimenet.core.manifest.cost_table import CostTable
    from anytimenet.data import DataSplits

ENLARGED = 16
"""Pixels of the picture of a digit for each of its own, which are 8 a side."""


@dataclass(frozen=True)
class Quickstart:
    """Train a real anytime network on 1,797 handwritten digits, evaluate it, and meet three deadlines.

    Needs no download: the images ship inside scikit-learn. 30 % of them are held out for the table and never
    used to choose anything. Writes bundle/, curve.png, report.json and digit.png into --out.
    """

    out: Path = Path("runs/quickstart")
    """Folder for everything it writes."""
    seed: int = 0
    """Draws weights, order and validation split."""
    epochs: int = 5
    """Passes over the training images; few, so that it is quick and one sees what each stage adds."""

    def run(self) -> None:
        """The whole tour."""
        from anytimenet.core.errors import require

        started = time.perf_counter()
        torch = require("torch", "train")
        torch.set_num_threads(1)  # these images are too small to share among threads
        from anytimenet.cli.predict import as_line
        from anytimenet.core.files.folder_lock import hold
        from anytimenet.data import load_data
        from anytimenet.recipes import recipe, run
        from anytimenet.recipes.run_folder import RunFolder
        from anytimenet.workflows import evaluate, profile

        experiment = recipe("digits").build()
        # Without smoothed labels: a stage that knows more should say so.
        config = replace(experiment.config, seed=self.seed, epochs=self.epochs, label_smoothing=0.0)
        # The digit is enlarged to be seen, and "box" makes the very pixels of it again.
        options = replace(experiment.options, seed=self.seed, resample="box")
        with hold(self.out) as held:
            result = run(
                replace(experiment, config=config, options=options),
                held,
                recipe_name="digits",
                overwrite=True,
            )
            bundle = result.bundle
            table = profile(bundle, minutes=0.1, device="cpu")
            splits = load_data("digits", options)
            report = evaluate(bundle, splits)
            RunFolder(self.out).write_results(bundle, report)

        print(f"\n{report.count} held-out digits, never used to train or to choose:")
        print(report.table())
        image, label = write_hard_digit(bundle, splits, self.out / "digit.png")
        runs = "the native engine" if bundle.backend.name == "native" else "PyTorch"
        print(f"\nA digit ({label}) that stage 1 finds hard, before three deadlines here, with {runs}:")
        costs = [stage.macs for stage in report.stages]
        bundle.warm_up()
        deadlines_ms = deadlines_of(table)
        for deadline_ms in deadlines_ms:
            prediction = bundle.predict(image, deadline_ms=deadline_ms)
            print(f"  within {deadline_ms:g} ms  {as_line(image, prediction)}")
        answers = [bundle.predict(image, stage=k) for k in range(1, len(costs) + 1)]
        said = ", ".join(f"{a.label} ({100 * a.probability:.0f} %)" for a in answers)
        print(f"What stages 1 to {len(costs)} say: {said}.")
        print(
            f"\nIn {self.out}: curve.png is the picture, bundle/ the net. Next:\n"
            f"  anytimenet predict {self.out / 'bundle'} {image} --deadline-ms {deadlines_ms[1]:g}\n"
            f"  anytimenet info {self.out / 'bundle'}\n"
            f"  anytimenet serve {self.out / 'bundle'}     # a page and an API; needs the extra 'serve'\n"
            f"Done in {time.perf_counter() - started:.0f} s."
        )


def deadlines_of(table: CostTable) -> list[float]:
    """Milliseconds: twice what stage 1 usually takes, four times what all stages take, and one between.

    Reading the image counts.
    """
    reading_ms = sum(one.median_ms for one in (table.decode, table.preprocess) if one is not None)
    first, last = (reading_ms + table.latency(0, stage).median_ms for stage in (1, table.num_stages))
    return [math.ceil(10 * each) / 10 for each in (2 * first, first + 2 * last, 4 * last)]


def write_hard_digit(bundle: Bundle, splits: DataSplits, path: Path) -> tuple[Path, str]:
    """Writes a test image that needs more than stage 1; returns its path and its true name.

    Among those of which every stage is surer than the one before, and the last one right, it is the one for
    whose class stage 1 has the least probability.

    It also runs every stage once: sub-networks are built when they are first used, and no request that is
    timed should wait for that.
    """
    from anytimenet.data import ImageSet, save_png

    digits = splits.test
    assert isinstance(digits, ImageSet)  # they are few, and decoded
    images, labels = digits.images, digits.labels[:, 0].tolist()
    names = splits.class_names[0]
    hardest, least = 0, 3.0
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        answers = [bundle.predict(image, stage=1)]
        if answers[0].probabilities[label] >= least:
            continue
        answers += [bundle.predict(image, stage=stage) for stage in range(2, bundle.num_stages + 1)]
        known = [answer.probabilities[label] for answer in answers]
        # Without any such digit, as after an epoch, the first one shows how unsure the stages are.
        if answers[-1].label == names[label] and known == sorted(known):
            hardest, least = index, known[0]
    for stage in range(1, bundle.num_stages + 1):
        bundle.predict(images[hardest], stage=stage)
    save_png(digits, hardest, path, enlarge=ENLARGED)
    return path, splits.class_names[0][digits.labels[hardest, 0]]
