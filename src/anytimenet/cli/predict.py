"""`anytimenet predict BUNDLE IMAGE ... | FOLDER | 'PATTERN'`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from anytimenet.cli.answers import AnswerPrinter, named_images
from anytimenet.cli.output import check_threads
from anytimenet.cli.parsing import Count

if TYPE_CHECKING:
    from anytimenet.core.answers.prediction import Prediction


@dataclass(frozen=True)
class Predict:
    """Predict images within a budget: some files, or all images of a folder or a pattern.

    JSON, one object a line as the answers come: {image, label, probability, stage, macs, elapsed_ms}, and
    "over_budget": true when even stage 1 exceeds the budget. A folder or pattern is always answered in JSON
    lines. An image that cannot be predicted is named, {image, error}, the others go on, and the command fails
    at the end unless --skip-bad leaves it out. With several label levels also {level, fine_label, coarser}:
    label is of the level that `evaluate --target-accuracy A --save-levels` chose for the stage, else of level
    1, the fine one.

    A net that labels pixels tells the share of each class, {image, shares: {class: share}, stage, macs,
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
    """Of a net that labels pixels: write the mask of every stage into this folder, as PNG pictures."""
    batch_size: int = 32
    """Images that run together; they share the time that is told."""
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
        from anytimenet.cli.segmentation import predict_maps
        from anytimenet.core.answers.prediction import FailedPrediction
        from anytimenet.workflows import load

        torch.set_num_threads(check_threads(self.threads))
        if not self.images:
            raise ValueError("no image was given: anytimenet predict BUNDLE IMAGE ...")
        bundle = load(self.bundle)
        if bundle.manifest.mask_classes is not None:
            predict_maps(self, bundle)
            return
        if self.out is not None:
            raise ValueError("--out writes masks, and this bundle gives one label an image: leave --out out")
        images, searched = named_images(self.images)
        printer = AnswerPrinter("-" if searched and self.json is None else self.json, skip_bad=self.skip_bad)
        answers = bundle.predict_many(
            images, stage=self.stage, budget_macs=self.budget_macs, batch_size=self.batch_size
        )
        for path, answer in zip(images, answers, strict=True):
            if isinstance(answer, FailedPrediction):
                printer.bad(path, answer.error)
            else:
                printer.answer(as_record(path, answer), as_line(path, answer))
        printer.finish()


def as_record(path: Path | str, prediction: Prediction) -> dict[str, Any]:
    """The JSON object of one prediction."""
    record: dict[str, Any] = {
        "image": str(path),
        "label": prediction.label,
        "probability": prediction.probability,
        "stage": prediction.stage,
        "macs": prediction.macs,
        "elapsed_ms": prediction.elapsed_ms,
    }
    if prediction.coarser:
        record["level"] = prediction.level
        record["fine_label"] = prediction.fine_label
        record["coarser"] = list(prediction.coarser)
    if prediction.over_budget:
        record["over_budget"] = True
    return record


def as_line(path: Path | str, prediction: Prediction) -> str:
    """One prediction for people."""
    from anytimenet.evaluation import format_count

    note = "  (even stage 1 exceeds the budget)" if prediction.over_budget else ""
    level = f", level {prediction.level} of {len(prediction.labels)}" if prediction.coarser else ""
    return (
        f"{path}: {prediction.label} ({100 * prediction.probability:.1f} %{level}) "
        f"by stage {prediction.stage}, {format_count(prediction.macs)} multiply-adds, "
        f"{prediction.elapsed_ms:.1f} ms{note}"
    )
