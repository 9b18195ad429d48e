"""`anytimenet predict BUNDLE IMAGE ...`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from anytimenet.cli.output import check_threads, emit_json

if TYPE_CHECKING:
    from anytimenet.core.prediction import Prediction


@dataclass(frozen=True)
class Predict:
    """Predict images within a budget.

    JSON, one object a line: {image, label, probability, stage, macs, elapsed_ms}, and "over_budget": true
    when even stage 1 exceeds the budget.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, or of the run that made it."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE ...")]
    """Image files."""
    stage: int | None = None
    """Answer with this stage."""
    budget_macs: float | None = None
    """Answer with the best validated stage whose multiply-adds fit, for example 2e6."""
    threads: int = 1
    """CPU threads of PyTorch; more than one is slower for one image on a busy machine."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.jsonl]")] = None
    """Print JSON lines, or write them to a file."""

    def run(self) -> None:
        """Predicts and prints."""
        from anytimenet.core.errors import require

        torch = require("torch", "train")
        from anytimenet.api import load

        torch.set_num_threads(check_threads(self.threads))
        if not self.images:
            raise ValueError("no image was given: anytimenet predict BUNDLE IMAGE ...")
        bundle = load(self.bundle)
        found = [
            (path, bundle.predict(path, stage=self.stage, budget_macs=self.budget_macs))
            for path in self.images
        ]
        if self.json is not None:
            emit_json([as_record(path, prediction) for path, prediction in found], self.json)
        if self.json != "-":
            for path, prediction in found:
                print(as_line(path, prediction))


def as_record(path: Path, prediction: Prediction) -> dict[str, Any]:
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
        record["coarser"] = list(prediction.coarser)
    if prediction.over_budget:
        record["over_budget"] = True
    return record


def as_line(path: Path, prediction: Prediction) -> str:
    """One prediction for people."""
    from anytimenet.evaluation import format_count

    note = "  (even stage 1 exceeds the budget)" if prediction.over_budget else ""
    return (
        f"{path}: {prediction.label} ({100 * prediction.probability:.1f} %) by stage {prediction.stage}, "
        f"{format_count(prediction.macs)} multiply-adds, {prediction.elapsed_ms:.1f} ms{note}"
    )
