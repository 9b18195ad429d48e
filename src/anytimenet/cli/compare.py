"""`anytimenet compare BUNDLE ... --out FILE`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import tyro

from anytimenet.cli.derived import Derived, derived
from anytimenet.cli.output import emit

if TYPE_CHECKING:
    from anytimenet.evaluation import Compared, Report, Spread

    _Picture: TypeAlias = Derived
else:
    _Picture = derived("How the figure is drawn.", "PlotOptions", default="")


@dataclass(frozen=True)
class Compare:
    """Draw the curves of several runs in one figure, with the spread over seeds where there are seeds.

    A run is the folder of `train --out`, of `train --seeds` (drawn as mean and standard deviation), or of a
    bundle; no torch is needed where runs have their reports. JSON: {figure, curves: [{label, path, runs,
    stages: [{stage, macs, top1, sd}], area, area_log, saving_max, saving_mean, unreached}]}. Areas are over
    one budget range; savings are relative to the first curve at equal accuracy, with straight lines between
    stages.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]
    """Folders of runs or bundles."""
    out: Path | None = None
    """The figure: a .png, .pdf or .svg file; without it the numbers alone are printed."""
    labels: tuple[str, ...] = ()
    """One name a run for the legend; the folders' names by default."""
    trained_data: bool = False
    """Of bundles without a report: follow the path that the bundle says its training data is at."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print JSON, or write it to a file."""
    picture: _Picture = field(default_factory=_Picture)

    def run(self) -> None:
        """Draws and prints."""
        from anytimenet.evaluation import PlotOptions, plot_curves
        from anytimenet.evaluation.reports.comparison import compare

        if not self.runs:
            raise ValueError("no run was given: anytimenet compare RUN ... --out FILE.png")
        if self.labels and len(self.labels) != len(self.runs):
            raise ValueError(f"{len(self.labels)} labels for {len(self.runs)} runs: one each is needed")
        wide = len(self.runs) > 1
        size = PlotOptions(width_in=4.6 if wide else 3.4, height_in=3.2 if wide else 2.6)
        options = self.picture.change(size)
        labels = list(self.labels) or [run_label(path) for path in self.runs]
        items = [read_run(path, options.cost, trust_paths=self.trained_data) for path in self.runs]
        _warn_of_mixed_data(items)
        if self.out is not None:
            plot_curves(items, self.out, labels=labels, options=options)
        compared = compare(items, labels, options.cost)
        figure = None if self.out is None else str(self.out)
        curves = [{"path": str(path), **net.to_dict()} for path, net in zip(self.runs, compared, strict=True)]
        if emit(self.json, {"figure": figure, "curves": curves}):
            print_compared(compared, self.out)


def read_run(path: Path, cost: str, *, trust_paths: bool = False) -> Report | Spread:
    """The test report of one run, or the spread over the seeds in a folder.

    Raises:
        ValueError: if there is neither, or both.
    """
    from anytimenet.evaluation import Spread, read_any_report

    if (path / "report.json").is_file():
        report = read_any_report(path)
        if (path / "spread.json").exists():
            raise ValueError(f"{path} holds a run and runs with seeds: name one of them, or move one away")
        if cost != "ms" or all(stage.latency_median_ms for stage in report.stages):
            return report
    seeds = sorted(path.glob("seed-*/report.json"))
    if seeds:
        return Spread.of([read_any_report(report) for report in seeds])
    from anytimenet.core.errors import DataError, require

    require("torch", "train")
    from anytimenet.workflows import evaluate, load

    try:
        evaluated = evaluate(load(path), trust_paths=trust_paths)
    except DataError as error:  # of one of several runs
        raise DataError(f"{path}: {error}") from error
    if cost == "ms" and not all(stage.latency_median_ms for stage in evaluated.stages):
        raise ValueError(f"{path} was not profiled on this machine: anytimenet profile {path}")
    return evaluated


def run_label(path: Path) -> str:
    """What a folder is called in a legend."""
    resolved = path.resolve()
    return resolved.parent.name if resolved.name == "bundle" else resolved.name


def print_compared(compared: list[Compared], figure: Path | None) -> None:
    """The curves as lines, with the saving against the first."""
    from anytimenet.core.uncounted import incomplete_note
    from anytimenet.evaluation.text.tables import counted

    for net in compared:
        print(net.label + (f"  ({net.runs} seeds)" if net.runs > 1 else ""))
        for stage in net.stages:
            sd = "" if stage.sd is None else f" +- {net.score.shown(stage.sd, 2)}"
            macs = counted(stage.macs, net.uncounted_operators)
            value = net.score.shown(stage.scores[net.score.key], 2)
            print(f"  stage {stage.stage}  {macs:>10}  {value}{sd} {net.score.unit}")
        print(f"  area over the shared budgets {net.area:.4f} (log budget {net.area_log:.4f})")
        if net.uncounted_operators:
            print(f"  {incomplete_note(net.uncounted_operators)}")
        if net is not compared[0]:
            print(f"  {_saving(net, compared[0].label)}")
    if figure is not None:
        print(f"The figure is {figure}.")


def _saving(net: Compared, first: str) -> str:
    if net.saving_max is None or net.saving_mean is None:
        return f"reaches none of the accuracies of {first}"
    missed = f"; {net.unreached} of the accuracies of {first} are not reached" if net.unreached else ""
    return (
        f"at equal accuracy {_cheaper(net.saving_max)} than {first} at best, {_cheaper(net.saving_mean)} on "
        f"average{missed}"
    )


def _cheaper(saving: float) -> str:
    return f"{100 * abs(saving):.1f} % {'cheaper' if saving >= 0 else 'dearer'}"


def _warn_of_mixed_data(items: list[Report | Spread]) -> None:
    names = sorted({item.data for item in items})
    if len(names) > 1:
        print(
            f"these runs were evaluated on different data ({', '.join(names)}): areas and savings mean "
            "something only if that is the same data under several names",
            file=sys.stderr,
        )
