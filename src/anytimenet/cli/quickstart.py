"""`anytimenet quickstart`: from nothing to predictions under budgets in a minute."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Quickstart:
    """Train a real anytime network on 1,797 handwritten digits, judge it, and predict under three budgets.

    Needs no download: the images ship inside scikit-learn. 30 % of them are held out for the table and never
    used to choose anything. Writes bundle/, curve.png, report.json and digit.png into --out.
    """

    out: Path = Path("runs/quickstart")
    """Folder for everything it writes."""
    seed: int = 0
    """Draws weights, order and validation split."""
    epochs: int | None = None
    """Passes over the training images; the recipe's by default."""

    def run(self) -> None:
        """The whole tour."""
        from anytimenet.core.errors import require

        started = time.perf_counter()
        torch = require("torch", "train")
        torch.set_num_threads(1)  # these images are too small to share among threads
        from anytimenet.api import evaluate, profile
        from anytimenet.cli.predict import as_line
        from anytimenet.data import load_data, save_png
        from anytimenet.evaluation import format_count, write_report
        from anytimenet.recipes import recipe, run

        experiment = recipe("digits").build()
        config = replace(experiment.config, seed=self.seed, epochs=self.epochs or experiment.config.epochs)
        options = replace(experiment.options, seed=self.seed)
        result = run(replace(experiment, config=config, options=options), self.out, recipe_name="digits")
        bundle = result.bundle
        profile(bundle, minutes=0.1)
        splits = load_data("digits", options)
        report = evaluate(bundle, splits)
        write_report(report, self.out)
        bundle.save(self.out / "bundle", extra_files=report_files(self.out))

        print(f"\n{report.count} held-out digits, never used to train or to choose:")
        print(report.table())

        image = self.out / "digit.png"
        save_png(splits.test, 0, image)
        print(f"\nOne of them, a {splits.class_names[0][splits.test.labels[0, 0]]}, at three budgets:")
        costs = [stage.macs for stage in report.stages]
        for stage in range(1, bundle.num_stages + 1):
            bundle.segment_for(stage)  # built once; no request should wait for it
        for budget in (costs[0], (costs[0] + costs[-1]) // 2, costs[-1]):
            prediction = bundle.predict(image, budget_macs=budget)
            print(f"  {format_count(budget):>9} multiply-adds allowed  {as_line(image, prediction)}")
        print(
            f"\nIn {self.out}: curve.png is the picture, bundle/ the net. Next:\n"
            f"  anytimenet predict {self.out / 'bundle'} {image} --budget-macs {costs[0]}\n"
            f"  anytimenet info {self.out / 'bundle'}\n"
            f"Done in {time.perf_counter() - started:.0f} s."
        )


def report_files(folder: Path) -> dict[str, Path]:
    """The files of a run's report that its bundle carries too."""
    return {name: folder / name for name in ("report.json", "curve.png")}
