"""`anytimenet predict BUNDLE IMAGE ... | FOLDER | 'PATTERN'`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from anytimenet.cli.answers import AnswerPrinter, named_images
from anytimenet.cli.output import check_threads
from anytimenet.cli.parsing import Count

if TYPE_CHECKING:
    from anytimenet.bundle import Bundle
    from anytimenet.core.answers.prediction import FailedPrediction, Prediction
    from anytimenet.workflows import LabelMap

Answer = tuple[dict[str, Any], str]
"""Of one image: its JSON object, and its line for people."""


@dataclass(frozen=True)
class Predict:
    """Predict images within a budget: some files, or all images of a folder or a pattern.

    JSON, one object a line as the answers come: {image, label, probability, stage, macs, elapsed_ms}, and
    "over_budget": true when even stage 1 exceeds the budget. A folder or pattern is always answered in JSON
    lines. An image that cannot be predicted is named, {image, error}, the others go on, and the command fails
    at the end unless --skip-bad leaves it out. With several label levels also {level, fine_label, coarser}:
    label is of the level that `evaluate --target-accuracy A --save-levels` chose for the stage, else of level
    1, the fine one.

    A net for segmentation gives the share of each class, {image, shares: {class: share}, stage, macs,
    elapsed_ms}; with --out it writes the masks of every stage, and "masks" lists the files.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, or of the run that made it."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE ...")]
    """Image files, folders of them, or quoted patterns such as 'photos/*.jpg'."""
    stage: int | None = None
    """Answer with this stage."""
    budget_macs: Count | None = None
    """Answer with the best validated stage whose multiply-adds fit, for example 2e6 or 1.5M."""
    out: Path | None = None
    """For segmentation: write the mask of every stage into this folder, as PNG pictures."""
    batch_size: int = 32
    """Images that run together; they share the time that is shown."""
    skip_bad: bool = False
    """Leave out images that cannot be predicted, and name them."""
    threads: int = 1
    """CPU threads of PyTorch; more than one is slower for one image on a busy machine."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.jsonl]")] = None
    """Print JSON lines, or write them to a file."""

    def run(self) -> None:
        """Predicts and prints."""
        from anytimenet.core.errors import require

        torch = require("torch", "train")
        from anytimenet.core.answers.prediction import FailedPrediction
        from anytimenet.workflows import load

        torch.set_num_threads(check_threads(self.threads))
        if not self.images:
            raise ValueError("no image was given: anytimenet predict BUNDLE IMAGE ...")
        bundle = load(self.bundle)
        segments = bundle.manifest.task_kind == "segmentation"
        self._check(bundle, segments)
        images, searched = named_images(self.images)
        json = "-" if searched and self.json is None else self.json
        printer = AnswerPrinter(json, skip_bad=self.skip_bad)
        for answer in self._label_maps(bundle, images) if segments else self._labels(bundle, images):
            if isinstance(answer, FailedPrediction):
                printer.bad(str(answer.source), answer.error)
            else:
                printer.answer(*answer)
        if json != "-" and self.out is not None:
            print(f"The masks of every stage are in {self.out}, STEM-stages.png shows them side by side.")
        printer.finish()

    def _check(self, bundle: Bundle, segments: bool) -> None:
        """Refuses flags that do not go together, before the first image is read."""
        if not segments:
            if self.out is not None:
                raise ValueError(
                    "--out writes masks, and this bundle gives one label an image: leave --out out"
                )
            return
        if self.out is not None and (self.stage is not None or self.budget_macs is not None):
            raise ValueError("--out writes the masks of every stage: leave --stage and --budget-macs out")
        if self.stage is not None and self.budget_macs is not None:
            raise ValueError("give --stage or --budget-macs, not both: a stage has its own cost")

    def _labels(self, bundle: Bundle, images: Sequence[str]) -> Iterator[Answer | FailedPrediction]:
        from anytimenet.core.answers.prediction import FailedPrediction

        answers = bundle.predict_many(
            images, stage=self.stage, budget_macs=self.budget_macs, batch_size=self.batch_size
        )
        for path, answer in zip(images, answers, strict=True):
            if isinstance(answer, FailedPrediction):
                yield FailedPrediction(path, answer.error)
            else:
                yield as_record(path, answer), as_line(path, answer)

    def _label_maps(self, bundle: Bundle, images: Sequence[str]) -> Iterator[Answer | FailedPrediction]:
        from anytimenet.core.answers.prediction import FailedPrediction
        from anytimenet.workflows import label_map, write_masks

        if self.out is not None:
            _check_stems(images)
        if self.stage is not None:
            bundle.segment_for(self.stage)  # a stage that does not exist is no fault of the images
        bundle.manifest.best_stage(self.budget_macs)
        names = bundle.manifest.class_names[0]
        for path in images:
            try:
                answer = label_map(bundle, path, stage=self.stage, budget_macs=self.budget_macs)
                masks = [] if self.out is None else write_masks(bundle, path, self.out)
            except ValueError as error:  # an image that cannot be read
                yield FailedPrediction(path, str(error))
            else:
                yield map_record(path, answer, names, masks), map_line(path, answer, names)


def as_record(path: Path | str, prediction: Prediction) -> dict[str, Any]:
    """The JSON object of one prediction."""
    record: dict[str, Any] = {
        "image": str(path),
        "label": prediction.label,
        "probability": prediction.probability,
        **_cost_of(prediction),
    }
    if prediction.coarser:
        record["level"] = prediction.level
        record["fine_label"] = prediction.fine_label
        record["coarser"] = list(prediction.coarser)
    if prediction.over_budget:
        record["over_budget"] = True
    return record


def map_record(
    path: Path | str, answer: LabelMap, names: Sequence[str], masks: Sequence[Path]
) -> dict[str, Any]:
    """The JSON object of one label map."""
    record: dict[str, Any] = {"image": str(path), "shares": answer.shares(names), **_cost_of(answer)}
    if masks:
        record["masks"] = [str(mask) for mask in masks]
    if answer.over_budget:
        record["over_budget"] = True
    return record


def as_line(path: Path | str, prediction: Prediction) -> str:
    """One prediction for people."""
    level = f", level {prediction.level} of {len(prediction.labels)}" if prediction.coarser else ""
    return (
        f"{path}: {prediction.label} ({100 * prediction.probability:.1f} %{level}) by {_spent_by(prediction)}"
    )


def map_line(path: Path | str, answer: LabelMap, names: Sequence[str], most: int = 4) -> str:
    """One label map for people: the classes that cover most of it."""
    shares = [f"{name} {100 * share:.0f} %" for name, share in list(answer.shares(names).items())[:most]]
    return f"{path}: {', '.join(shares)} by {_spent_by(answer)}"


def _cost_of(answer: Prediction | LabelMap) -> dict[str, Any]:
    return {"stage": answer.stage, "macs": answer.macs, "elapsed_ms": answer.elapsed_ms}


def _spent_by(answer: Prediction | LabelMap) -> str:
    from anytimenet.evaluation import format_count

    note = "  (even stage 1 exceeds the budget)" if answer.over_budget else ""
    return (
        f"stage {answer.stage}, {format_count(answer.macs)} multiply-adds, {answer.elapsed_ms:.1f} ms{note}"
    )


def _check_stems(images: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for path in images:
        other = first.setdefault(Path(path).stem, path)
        if other != path:
            raise ValueError(
                f"the masks of {other} and {path} would have the same names: predict them with an --out each"
            )
