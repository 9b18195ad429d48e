"""`anytimenet reestimate BUNDLE --out FOLDER`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anytimenet.cli.join import check_takes_bundle
from anytimenet.cli.output import emit
from anytimenet.cli.reading import ReadingFlags, reading_arguments
from anytimenet.cli.report_text import evaluated_images

if TYPE_CHECKING:
    from anytimenet.evaluation import Report


@dataclass(frozen=True)
class Reestimate:
    """Estimate a bundle's BatchNorm statistics anew on training images; no weight changes.

    Stages that share BatchNorms get own copies of them with statistics of their own. Writes --out like a run:
    bundle/, report.json, report.csv and curve.png, evaluated on the test images. A folder of `train --seeds`
    is done seed by seed. JSON: what `evaluate` gives and `out`; for seeds what `train --seeds` gives.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, of the run that made it, or of runs with several seeds."""
    out: Path
    """The new folder."""
    augmentation: Literal["trained", "none"] = "trained"
    """Change the images as in training, or not at all; without, statistics of a net that was trained with it
    are worse."""
    num_batches: int | None = None
    """How many batches of 256 images to read; all by default."""
    overwrite: bool = False
    """Replace a bundle that is in --out."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""
    images: ReadingFlags = field(default_factory=ReadingFlags)

    def run(self) -> None:
        """Estimates, evaluates, saves and prints."""
        from anytimenet.core.errors import require
        from anytimenet.core.files.folder_lock import hold

        require("torch", "train")
        from anytimenet.evaluation import spread_of

        seeds = sorted(path.parent for path in self.bundle.glob("seed-*/bundle"))
        pairs = [(seed, self.out / seed.name) for seed in seeds] or [(self.bundle, self.out)]
        with hold(self.out):
            self._check_out([target for _, target in pairs])
            reports = [self._one(source, target) for source, target in pairs]
        result = spread_of(reports) if seeds else reports[0]
        if emit(self.json, {"out": str(self.out), **result.to_dict()}):
            print(f"statistics estimated anew; {evaluated_images(reports[0])}")
            print(result.table())
            print(f"Everything is in {self.out}.")

    def _check_out(self, targets: list[Path]) -> None:
        if self.out.resolve() == self.bundle.resolve():
            raise ValueError("--out is the bundle itself: give another folder")
        for folder in (self.out, *targets):
            check_takes_bundle(folder, self.overwrite)

    def _one(self, source: Path, target: Path) -> Report:
        from anytimenet.recipes.run_folder import RunFolder
        from anytimenet.workflows import Evaluation, Reading, load, reestimate

        images = reading_arguments(self.images)
        augmentation: Literal["trained"] | None = "trained" if self.augmentation == "trained" else None
        bundle = reestimate(load(source), augmentation=augmentation, num_batches=self.num_batches, **images)
        report = Evaluation(Reading(bundle, **images)).report()
        RunFolder(target).write_results(bundle, report)
        return report
