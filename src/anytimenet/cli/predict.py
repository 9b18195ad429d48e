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
    from anytimenet.runtime import ExportedNet
    from anytimenet.workflows import LabelMap

Answer = tuple[dict[str, Any], str]
"""Of one image: its JSON object, and its line for people."""


@dataclass(frozen=True)
class Predict:
    """Predict images within a budget: some files, or all images of a folder or a pattern.

    JSON, one object a line as the answers come: {image, label, probability, stage, macs, elapsed_ms, path,
    backend}, and "over_budget": true when even stage 1 exceeds the budget, "late": true after its deadline,
    "below_target": true where no stage is so accurate. A folder or pattern is always answered in JSON lines.
    An image that cannot be predicted is named, {image, error}, the others go on, and the command fails at the
    end unless --skip-bad leaves it out. With several label levels also {level, fine_label, coarser}: label is
    of the level that `evaluate --target-accuracy A --save-levels` chose for the stage, else of level 1, the
    fine one.

    A net for segmentation gives the share of each class, {image, shares: {class: share}, stage, macs,
    elapsed_ms}; with --out it writes the masks of every stage, and "masks" lists the files.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, of the run that made it, or of an exported net."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE ...")]
    """Image files, folders of them, or quoted patterns such as 'photos/*.jpg'."""
    stage: int | None = None
    """Answer with this stage."""
    budget_macs: Count | None = None
    """Answer with the best validated stage whose multiply-adds fit, for example 2e6 or 1.5M."""
    deadline_ms: float | None = None
    """Answer each image, or each batch of --batch-size, in so many milliseconds, reading included; needs what
    `anytimenet profile` measures."""
    target_accuracy: float | None = None
    """Answer with the cheapest stage whose validated accuracy is at least this, 0..1."""
    backend: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """What runs the net: native, eager PyTorch, compiled, onnxruntime, openvino; by default what a bundle was
    profiled with on this machine, else the native engine where it runs the net, else eager."""
    out: Path | None = None
    """For segmentation: write the mask of every stage into this folder, as PNG pictures."""
    batch_size: int | None = None
    """Images that run together; they share the time that is shown. 32 by default, 1 with a deadline."""
    skip_bad: bool = False
    """Leave out images that cannot be predicted, and name them."""
    threads: int = 1
    """CPU threads of one run; more than one is slower for one image on a busy machine."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.jsonl]")] = None
    """Print JSON lines, or write them to a file."""

    def run(self) -> None:
        """Predicts and prints."""
        from anytimenet.core.errors import require

        torch = require("torch", "train")
        from anytimenet.core.answers.prediction import FailedPrediction
        from anytimenet.workflows import load
        from anytimenet.workflows.predicting import folder_of_export

        torch.set_num_threads(check_threads(self.threads))
        if not self.images:
            raise ValueError("no image was given: anytimenet predict BUNDLE IMAGE ...")
        net = folder_of_export(self.bundle) or load(self.bundle)
        self._check(net.manifest.task_kind == "segmentation")
        images, searched = named_images(self.images)
        json = "-" if searched and self.json is None else self.json
        printer = AnswerPrinter(json, skip_bad=self.skip_bad)
        for answer in self._answers(net, images):
            if isinstance(answer, FailedPrediction):
                printer.bad(str(answer.source), answer.error)
            else:
                printer.answer(*answer)
        if json != "-" and self.out is not None:
            print(f"The masks of every stage are in {self.out}, STEM-stages.png shows them side by side.")
        printer.finish()

    def _answers(
        self, net: Bundle | ExportedNet, images: Sequence[str]
    ) -> Iterator[Answer | FailedPrediction]:
        from anytimenet.bundle import Bundle

        if net.manifest.task_kind != "segmentation":
            return self._labels(net, images)
        if not isinstance(net, Bundle):
            raise ValueError("an exported net for segmentation has no label maps here yet: give its bundle")
        return self._label_maps(net, images)

    def _check(self, segments: bool) -> None:
        """Refuses flags that do not go together, before the first image is read."""
        if not segments:
            if self.out is not None:
                raise ValueError(
                    "--out writes masks, and this bundle gives one label an image: leave --out out"
                )
            return
        if self.deadline_ms is not None or self.target_accuracy is not None or self.backend is not None:
            raise ValueError(
                "label maps know no --deadline-ms, --target-accuracy or --backend yet: give --stage or "
                "--budget-macs"
            )
        if self.out is not None and (self.stage is not None or self.budget_macs is not None):
            raise ValueError("--out writes the masks of every stage: leave --stage and --budget-macs out")
        if self.stage is not None and self.budget_macs is not None:
            raise ValueError("give --stage or --budget-macs, not both: a stage has its own cost")

    def _labels(
        self, net: Bundle | ExportedNet, images: Sequence[str]
    ) -> Iterator[Answer | FailedPrediction]:
        from anytimenet.bundle import Bundle
        from anytimenet.core.answers.prediction import FailedPrediction
        from anytimenet.core.answers.prediction_record import prediction_record
        from anytimenet.workflows.predicting import predictor, predictor_when_asked

        if isinstance(net, Bundle) and self.deadline_ms is None:
            chosen = predictor_when_asked(net, backend=self.backend, threads=self.threads)
        else:
            chosen = predictor(net, backend=self.backend, threads=self.threads)
        backend = chosen.model.backend.name
        usual = 32 if self.deadline_ms is None else 1
        answers = chosen.predict_many(
            images,
            stage=self.stage,
            budget_macs=self.budget_macs,
            deadline_ms=self.deadline_ms,
            target_accuracy=self.target_accuracy,
            batch_size=usual if self.batch_size is None else self.batch_size,
        )
        for path, answer in zip(images, answers, strict=True):
            if isinstance(answer, FailedPrediction):
                yield FailedPrediction(path, answer.error)
            else:
                yield {**prediction_record(path, answer), "backend": backend}, as_line(path, answer)

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


def map_record(
    path: Path | str, answer: LabelMap, names: Sequence[str], masks: Sequence[Path]
) -> dict[str, Any]:
    """The JSON object of one label map."""
    record: dict[str, Any] = {"image": str(path), "shares": answer.shares(names)}
    record |= {"stage": answer.stage, "macs": answer.macs, "elapsed_ms": answer.elapsed_ms}
    if masks:
        record["masks"] = [str(mask) for mask in masks]
    if answer.over_budget:
        record["over_budget"] = True
    return record


def as_line(path: Path | str, prediction: Prediction) -> str:
    """One prediction for people."""
    from anytimenet.core.answers.prediction_record import remarks

    level = f", level {prediction.level} of {len(prediction.labels)}" if prediction.coarser else ""
    return (
        f"{path}: {prediction.label} ({100 * prediction.probability:.1f} %{level}) by "
        f"{_spent_by(prediction)}{remarks(prediction)}"
    )


def map_line(path: Path | str, answer: LabelMap, names: Sequence[str], most: int = 4) -> str:
    """One label map for people: the classes that cover most of it."""
    note = "  (even stage 1 exceeds the budget)" if answer.over_budget else ""
    shares = [f"{name} {100 * share:.0f} %" for name, share in list(answer.shares(names).items())[:most]]
    return f"{path}: {', '.join(shares)} by {_spent_by(answer)}{note}"


def _spent_by(answer: Prediction | LabelMap) -> str:
    from anytimenet.evaluation import format_count

    return f"stage {answer.stage}, {format_count(answer.macs)} multiply-adds, {answer.elapsed_ms:.1f} ms"


def _check_stems(images: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for path in images:
        other = first.setdefault(Path(path).stem, path)
        if other != path:
            raise ValueError(
                f"the masks of {other} and {path} would have the same names: predict them with an --out each"
            )
