"""`anytimenet join BUNDLE BUNDLE ... --out FOLDER`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from anytimenet.cli.output import emit
from anytimenet.cli.reading import ReadingFlags, reading_arguments
from anytimenet.cli.report_text import evaluated_images

if TYPE_CHECKING:
    from anytimenet.bundle import Bundle
    from anytimenet.evaluation import PathCurve, Report


@dataclass(frozen=True)
class Join:
    """Make one bundle of several: nets of growing cost that run one after the other.

    Nothing is trained. Writes --out like a run: bundle/, report.json, report.csv and curve.png, evaluated on
    the test images. A run keeps its answer until a stage with a better validation accuracy is finished; the
    table says what it has spent and what it answers after each stage. JSON: what `evaluate` gives, `out`, and
    `run`: [{stage, spent, answer, accuracy}], of label maps with mean IoU as accuracy.
    """

    bundles: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE ...")]
    """Folders of bundles or of the runs that made them, the cheapest first."""
    out: Path
    """The new folder."""
    overwrite: bool = False
    """Replace a bundle that is in --out."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""
    images: ReadingFlags = field(default_factory=ReadingFlags)

    def run(self) -> None:
        """Joins, evaluates, saves and prints."""
        from anytimenet.core.errors import require
        from anytimenet.core.files.folder_lock import hold

        require("torch", "train")
        with hold(self.out):
            self._run()

    def _run(self) -> None:
        from anytimenet.recipes.run_folder import RunFolder
        from anytimenet.workflows import Evaluation, Reading, join_bundles

        self._check_out()
        bundle = join_bundles(self.bundles)
        reading = Reading(bundle, **reading_arguments(self.images))
        if reading.data is None and "data" not in bundle.manifest.provenance:
            raise ValueError(
                "the bundles were trained on different data: name one to evaluate on with --data"
            )
        report = Evaluation(reading).report()
        curve = step_by_step(bundle, report)
        RunFolder(self.out).write_results(bundle, report)
        points = [asdict(point) for point in curve.points]
        if emit(self.json, {"out": str(self.out), **report.to_dict(), "run": points}):
            print(f"{len(self.bundles)} nets one after the other; {evaluated_images(report)}")
            print(run_table(curve, report))
            print(f"Everything is in {self.out}.")

    def _check_out(self) -> None:
        from anytimenet.core.manifest.folder import find_bundle

        places = (self.out, self.out / "bundle")
        if {place.resolve() for place in places} & {find_bundle(path).resolve() for path in self.bundles}:
            raise ValueError("--out is one of the bundles: give another folder")
        check_takes_bundle(self.out, self.overwrite)


def check_takes_bundle(folder: Path, overwrite: bool) -> None:
    """Checks that a bundle and its report may be written into `folder`, before hours are spent on them.

    Raises:
        ValueError: if it is a bundle itself, or holds one and `overwrite` is not given.
        AnytimeNetError: if it holds what none of this project wrote.
    """
    from anytimenet.core.manifest.folder import check_replaceable
    from anytimenet.core.manifest.run_proof import check_run_folder

    if (folder / "bundle.json").exists():
        raise ValueError(
            f"--out is a bundle itself ({folder} holds bundle.json): give the folder of a run, or another one"
        )
    check_run_folder(folder)
    if (folder / "bundle").exists() and not overwrite:
        raise ValueError(f"{folder} holds a bundle already: choose another --out or give --overwrite")
    check_replaceable(folder / "bundle")


def step_by_step(bundle: Bundle, report: Report) -> PathCurve:
    """The run of all steps (0, 1), (1, 2), ... of a bundle, evaluated by a report on it."""
    from anytimenet.costs import segment_macs
    from anytimenet.evaluation import path_curve

    path = [(stage - 1, stage) for stage in range(1, bundle.num_stages + 1)]
    return path_curve(
        path,
        segment_macs(bundle.net, bundle.manifest.input_shape, path),
        report.values,
        [record.val_accuracy for record in bundle.manifest.stages],
    )


def run_table(curve: PathCurve, report: Report) -> str:
    """A line for each finished stage: what was spent, what the stage is worth, what the run answers."""
    from anytimenet.evaluation import format_count
    from anytimenet.evaluation.text.tables import percent_decimals, plain_table

    spec, own = report.headline, report.values
    as_error = spec.label == "accuracy"
    decimals = percent_decimals(report.count)

    def percent(accuracy: float) -> str:
        return spec.shown(1 - accuracy if as_error else accuracy, decimals)

    score = "error %" if as_error else spec.title
    return plain_table(
        [
            ("spent multiply-adds", [format_count(point.spent) for point in curve.points]),
            ("stage", [str(point.stage) for point in curve.points]),
            (f"its {score}", [percent(own[point.stage - 1]) for point in curve.points]),
            ("answer", [str(point.answer) for point in curve.points]),
            (score, [percent(point.accuracy) for point in curve.points]),
        ]
    )
