"""What `evaluate` and `predict` do with a bundle that labels pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anytimenet.cli.output import emit_json

if TYPE_CHECKING:
    from anytimenet.api import LabelMap
    from anytimenet.bundle import Bundle
    from anytimenet.cli.evaluate import Evaluate
    from anytimenet.cli.predict import Predict
    from anytimenet.evaluation import SegmentationReport


def evaluate_maps(command: Evaluate, bundle: Bundle) -> None:
    """Judges the label maps of every stage, writes and prints."""
    from anytimenet.api import evaluate
    from anytimenet.evaluation import PlotOptions, SegmentationReport, plot_curves, write_report

    _refuse(
        command,
        ("budgeted", "ensemble", "target_accuracy", "save_outputs", "exit_cost"),
        "is for labels of whole images, and this bundle labels pixels: leave it out",
    )
    report = evaluate(
        bundle,
        command.data,
        split=command.split,
        skip_bad=command.skip_bad,
        data_root=command.data_root,
        device=command.device,
    )
    assert isinstance(report, SegmentationReport)
    if command.out is not None:
        write_report(report, command.out)
    if command.figure is not None:
        plot_curves([report], command.figure, options=PlotOptions(width_in=4.6, height_in=3.2))
    if command.json is not None:
        emit_json(report.to_dict(), command.json)
    if command.json != "-":
        print_segmentation(report, per_class=command.per_class)


def predict_maps(command: Predict, bundle: Bundle) -> None:
    """Labels the pixels of every image, writes masks and prints the shares of the classes."""
    from anytimenet.api import label_map, write_masks

    if command.out is not None and (command.stage is not None or command.budget_macs is not None):
        raise ValueError("--out writes the masks of every stage: leave --stage and --budget-macs out")
    if command.out is not None:
        _check_stems(command.images)
    names = bundle.manifest.class_names[0]
    records, lines = [], []
    for path in command.images:
        found = label_map(bundle, path, stage=command.stage, budget_macs=command.budget_macs)
        masks = [] if command.out is None else write_masks(bundle, path, command.out)
        records.append(as_record(path, found, names, masks))
        lines.append(as_line(path, found, names))
    if command.json is not None:
        emit_json(records, command.json)
    if command.json != "-":
        print("\n".join(lines))
        if command.out is not None:
            print(f"The masks of every stage are in {command.out}, STEM-stages.png shows them side by side.")


def print_segmentation(report: SegmentationReport, *, per_class: bool) -> None:
    """The table of the stages, for people."""
    print(f"{report.count} {report.split} images of {report.data}, {report.pixels} pixels that count")
    print(report.table())
    if per_class:
        print("intersection over union in % of each class:")
        print(report.class_table())


def as_record(path: Path, found: LabelMap, names: Sequence[str], masks: Sequence[Path]) -> dict[str, Any]:
    """The JSON object of one label map."""
    record: dict[str, Any] = {
        "image": str(path),
        "shares": found.shares(names),
        "stage": found.stage,
        "macs": found.macs,
        "elapsed_ms": found.elapsed_ms,
    }
    if masks:
        record["masks"] = [str(mask) for mask in masks]
    if found.over_budget:
        record["over_budget"] = True
    return record


def as_line(path: Path, found: LabelMap, names: Sequence[str], most: int = 4) -> str:
    """One label map for people: the classes that cover most of it."""
    from anytimenet.evaluation import format_count

    shares = [f"{name} {100 * share:.0f} %" for name, share in list(found.shares(names).items())[:most]]
    note = "  (even stage 1 exceeds the budget)" if found.over_budget else ""
    return (
        f"{path}: {', '.join(shares)} by stage {found.stage}, {format_count(found.macs)} multiply-adds, "
        f"{found.elapsed_ms:.1f} ms{note}"
    )


def _refuse(command: Any, names: Sequence[str], why: str) -> None:
    """Raises ValueError for a flag of these names that is not what it is by default."""
    for field in fields(command):
        if field.name in names and getattr(command, field.name) != field.default:
            raise ValueError(f"--{field.name.replace('_', '-')} {why}")


def _check_stems(images: Sequence[Path]) -> None:
    first: dict[str, Path] = {}
    for path in images:
        other = first.setdefault(path.stem, path)
        if other is not path:
            raise ValueError(
                f"the masks of {other} and {path} would have the same names: predict them with an --out each"
            )
