"""A report as files: report.json, report.csv and figures in one folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anytimenet.core.files.regular import read_json
from anytimenet.core.files.writing import write_bytes, write_json, write_text
from anytimenet.evaluation.plots.plots import PlotOptions, render_curves
from anytimenet.evaluation.reports.report import Report
from anytimenet.evaluation.reports.segmentation import TASK, SegmentationReport


def write_report(report: Report, folder: Path | str, *, options: PlotOptions | None = None) -> Path:
    """Writes report.json, report.csv and curve.png into `folder`, which may hold other files.

    Where every stage has a measured latency, latency.png has the same curve over milliseconds. Figures are
    drawn before anything is written, and each file is whole or absent.

    Returns:
        The folder.

    Raises:
        MissingExtraError: without matplotlib.
        ValueError: if `options` ask for latencies that the report does not have.
        OSError: if the folder cannot be written.
    """
    folder = Path(folder)
    figures = {"curve.png": render_curves([report], ".png", options=options)}
    if all(stage.latency_median_ms for stage in report.stages):
        over_ms = replace(options or PlotOptions(), cost="ms")
        figures["latency.png"] = render_curves([report], ".png", options=over_ms)
    write_json(folder / "report.json", report.to_dict())
    write_text(folder / "report.csv", report.to_csv())
    for name, figure in figures.items():
        write_bytes(folder / name, figure)
    return folder


def read_report(path: Path | str) -> Report:
    """The report in a report.json, or in a folder that holds one.

    Raises:
        ValueError: if the file is no report of labels.
        OSError: if there is none.
    """
    report = read_any_report(path)
    if report.task != "classification":
        what = "label maps" if report.task == TASK else report.task
        raise ValueError(f"{path} holds a report of {what}, and labels of whole images are needed here")
    return report


def read_any_report(path: Path | str) -> Report:
    """As `read_report`, of any task; of label maps it is a `SegmentationReport`."""
    path = Path(path)
    if path.is_dir():
        path = path / "report.json"
    try:
        values = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a report: it holds no object")
    return (SegmentationReport if values.get("kind") == TASK else Report).from_dict(values)
