"""What `evaluate` and `predict` do with a bundle that labels pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anytimenet.cli.answers import AnswerPrinter, named_images
from anytimenet.cli.output import emit_json
from anytimenet.cli.report_text import judged_images

if TYPE_CHECKING:
    from anytimenet.bundle import Bundle
    from anytimenet.cli.evaluate import Evaluate
    from anytimenet.cli.predict import Predict
    from anytimenet.evaluation import SegmentationReport
    from anytimenet.workflows import LabelMap


def evaluate_maps(command: Evaluate, bundle: Bundle) -> None:
    """Judges the label maps of every stage, writes and prints."""
    from anytimenet.core.manifest.run_proof import check_report_folder
    from anytimenet.evaluation import PlotOptions, SegmentationReport, plot_curves, write_report
    from anytimenet.workflows import evaluate

    _refuse(
        command,
        ("budgeted", "ensemble", "target_accuracy", "save_outputs", "exit_cost"),
        "is for labels of whole images, and this bundle labels pixels: leave it out",
    )
    if command.out is not None:
        check_report_folder(command.out)
    report = evaluate(
        bundle,
        command.data,
        split=command.split,
        skip_bad=command.skip_bad,
        data_root=command.data_root,
        device=command.device,
        trust_paths=command.trained_data,
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
    from anytimenet.workflows import label_map, write_masks

    if command.out is not None and (command.stage is not None or command.budget_macs is not None):
        raise ValueError("--out writes the masks of every stage: leave --stage and --budget-macs out")
    if command.stage is not None and command.budget_macs is not None:
        raise ValueError("give --stage or --budget-macs, not both: a stage has its own cost")
    images, searched = named_images(command.images)
    if command.out is not None:
        _check_stems(images)
    if command.stage is not None:
        bundle.segment_for(command.stage)  # a stage that does not exist is no fault of the images
    bundle.manifest.best_stage(command.budget_macs)
    names = bundle.manifest.class_names[0]
    json = "-" if searched and command.json is None else command.json
    printer = AnswerPrinter(json, skip_bad=command.skip_bad)
    for path in images:
        try:
            found = label_map(bundle, path, stage=command.stage, budget_macs=command.budget_macs)
            masks = [] if command.out is None else write_masks(bundle, path, command.out)
        except ValueError as error:  # an image that cannot be read
            printer.bad(path, str(error))
        else:
            printer.answer(as_record(path, found, names, masks), as_line(path, found, names))
    if json != "-" and command.out is not None:
        print(f"The masks of every stage are in {command.out}, STEM-stages.png shows them side by side.")
    printer.finish()


def print_segmentation(report: SegmentationReport, *, per_class: bool) -> None:
    """The table of the stages, for people."""
    print(f"{judged_images(report)}, {report.pixels} pixels that count")
    print(report.table())
    if per_class:
        print("intersection over union in % of each class:")
        print(report.class_table())


def as_record(
    path: Path | str, found: LabelMap, names: Sequence[str], masks: Sequence[Path]
) -> dict[str, Any]:
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


def as_line(path: Path | str, found: LabelMap, names: Sequence[str], most: int = 4) -> str:
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


def _check_stems(images: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for path in images:
        other = first.setdefault(Path(path).stem, path)
        if other != path:
            raise ValueError(
                f"the masks of {other} and {path} would have the same names: predict them with an --out each"
            )
