"""`anytimenet compare BUNDLE ... --out FILE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from anytimenet.cli.output import emit_json

if TYPE_CHECKING:
    from anytimenet.evaluation import Report, Spread


@dataclass(frozen=True)
class Compare:
    """Draw the curves of several runs in one figure, with the spread over seeds where there are seeds.

    A run is the folder of `train --out`, of `train --seeds` (drawn as mean and standard deviation), or of a
    bundle. JSON: {figure, curves: [{label, path, runs, stages: [{stage, macs, top1, sd}], area, area_log,
    saving_max, saving_mean}]}; savings are relative to the first curve, at equal accuracy.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]
    """Folders of runs or bundles."""
    out: Path
    """The figure: a .png, .pdf or .svg file."""
    labels: tuple[str, ...] = ()
    """One name a run for the legend; the folders' names by default."""
    cost: Literal["macs", "full", "ms"] = "macs"
    """The x axis: multiply-adds, the `full` count, or measured milliseconds."""
    value: Literal["accuracy", "error"] = "accuracy"
    """The y axis."""
    log: bool = False
    """Logarithmic budget axis."""
    title: str = ""
    """Above the axes."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print JSON, or write it to a file."""

    def run(self) -> None:
        """Draws and prints."""
        from anytimenet.evaluation import PlotOptions, plot_curves

        if not self.runs:
            raise ValueError("no run was given: anytimenet compare RUN ... --out FILE.png")
        if self.labels and len(self.labels) != len(self.runs):
            raise ValueError(f"{len(self.labels)} labels for {len(self.runs)} runs: one each is needed")
        labels = list(self.labels) or [run_label(path) for path in self.runs]
        items = [read_run(path) for path in self.runs]
        wide = len(items) > 1
        options = PlotOptions(
            cost=self.cost,
            value=self.value,
            log=self.log,
            title=self.title,
            width_in=4.6 if wide else 3.4,
            height_in=3.2 if wide else 2.6,
        )
        plot_curves(items, self.out, labels=labels, options=options)
        records = [
            describe(label, path, item, items[0], self.cost)
            for label, path, item in zip(labels, self.runs, items, strict=True)
        ]
        if self.json is not None:
            emit_json({"figure": str(self.out), "curves": records}, self.json)
        if self.json != "-":
            print_records(records, self.out)


def read_run(path: Path) -> Report | Spread:
    """The test report of one run, or the spread over the seeds in a folder.

    Raises:
        ValueError: if there is neither.
    """
    from anytimenet.evaluation import Spread, read_report

    if (path / "report.json").is_file():
        return read_report(path)
    seeds = sorted(path.glob("seed-*/report.json"))
    if seeds:
        return Spread.of([read_report(report) for report in seeds])
    from anytimenet.core.errors import require

    require("torch", "train")
    from anytimenet.api import evaluate, load

    return evaluate(load(path))


def run_label(path: Path) -> str:
    """What a folder is called in a legend."""
    resolved = path.resolve()
    return resolved.parent.name if resolved.name == "bundle" else resolved.name


def describe(
    label: str, path: Path, item: Report | Spread, first: Report | Spread, cost: Any
) -> dict[str, Any]:
    """The numbers behind one curve."""
    from anytimenet.evaluation import Report, relative_saving

    saving = relative_saving(item.curve(cost), first.curve(cost), interpolate=True)
    single = isinstance(item, Report)
    stages = []
    for stage in item.stages:
        top1 = stage.top1 if single else stage.top1.mean  # type: ignore[union-attr]
        sd = None if single else stage.top1.sd  # type: ignore[union-attr]
        stages.append({"stage": stage.stage, "macs": stage.macs, "top1": top1, "sd": sd})
    return {
        "label": label,
        "path": str(path),
        "runs": 1 if single else item.runs,  # type: ignore[union-attr]
        "stages": stages,
        "area": item.area if single else item.area.mean,  # type: ignore[union-attr]
        "area_log": item.area_log if single else item.area_log.mean,  # type: ignore[union-attr]
        "saving_max": None if item is first else saving.maximum,
        "saving_mean": None if item is first else saving.mean,
    }


def print_records(records: list[dict[str, Any]], figure: Path) -> None:
    """The curves as lines, with the saving against the first."""
    from anytimenet.evaluation import format_count

    for record in records:
        seeds = f"  ({record['runs']} seeds)" if record["runs"] > 1 else ""
        print(f"{record['label']}{seeds}")
        for stage in record["stages"]:
            sd = "" if stage["sd"] is None else f" +- {100 * stage['sd']:.2f}"
            macs = format_count(stage["macs"])
            print(f"  stage {stage['stage']}  {macs:>10}  {100 * stage['top1']:.2f}{sd} %")
        if record["saving_max"] is not None:
            print(
                f"  at equal accuracy up to {100 * record['saving_max']:.1f} % cheaper than "
                f"{records[0]['label']} (mean {100 * record['saving_mean']:.1f} %)"
            )
    print(f"The figure is {figure}.")
