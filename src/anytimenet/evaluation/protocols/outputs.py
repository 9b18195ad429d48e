"""The outputs of all stages on one data split: all that evaluation needs, without the net."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from anytimenet.core.answers.confidence import Confidence
from anytimenet.core.errors import DataError
from anytimenet.core.files.regular import check_regular, parse_json
from anytimenet.core.files.writing import write_bytes
from anytimenet.evaluation.scores.outcomes import Combine, Outcomes

_FORMAT = "anytimenet-outputs"
_VERSION = 1


@dataclass(frozen=True)
class OutputCost:
    """Counted costs of one stage, with the meaning and the names of `costs.StageCost`."""

    stage: int
    macs: int
    full: int
    params: int
    macs_cumulative: int
    msd: int
    uncounted_operators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "uncounted_operators", tuple(self.uncounted_operators))

    @classmethod
    def of(cls, cost: Any) -> OutputCost:
        """From a `costs.StageCost`."""
        return cls(**{field.name: getattr(cost, field.name) for field in fields(cls)})


@dataclass(frozen=True, eq=False)
class Outputs:
    """Logits of every stage, labels, and what the stages cost.

    Attributes:
        logits: for each stage one array (examples, classes) a label level, fine level first.
        labels: (examples, levels), whole numbers from 0.
        costs: one entry a stage.
        data: name of the data.
        split: name of the split.
        class_names: names of the fine level's classes; empty where they are not known.
        device: where the net ran, such as "cpu"; None where it is not known.

    Raises:
        DataError: for numbers of stages, levels or examples that do not fit each other.

    >>> cost = OutputCost(stage=1, macs=10, full=12, params=3, macs_cumulative=10, msd=12)
    >>> outputs = Outputs(((np.array([[2.0, 1.0]]),),), np.array([[0]]), (cost,))
    >>> outputs.num_stages, outputs.count, outputs.outcomes().right.tolist()
    (1, 1, [[True]])
    """

    logits: tuple[tuple[np.ndarray, ...], ...]
    labels: np.ndarray
    costs: tuple[OutputCost, ...]
    data: str = ""
    split: str = ""
    class_names: tuple[str, ...] = ()
    device: str | None = None

    def __post_init__(self) -> None:
        levels = self.labels.shape[1] if self.labels.ndim == 2 else 0
        if not levels or not self.logits or len(self.costs) != len(self.logits):
            raise DataError(
                f"outputs need logits of at least one stage, {len(self.logits)} costs (not "
                f"{len(self.costs)}) and labels (examples, levels), not {self.labels.shape}"
            )
        for number, stage in enumerate(self.logits, start=1):
            if len(stage) != levels or any(z.ndim != 2 or len(z) != self.count for z in stage):
                shapes = [z.shape for z in stage]
                raise DataError(
                    f"stage {number} has logits {shapes} for {self.count} examples of {levels} label levels"
                )

    @property
    def num_stages(self) -> int:
        """How many stages answered."""
        return len(self.logits)

    @property
    def count(self) -> int:
        """How many examples there are."""
        return len(self.labels)

    def __repr__(self) -> str:
        what = f"{self.count} {self.split} images of {self.data}".replace("  ", " ")
        return f"Outputs({what}, {self.num_stages} stages, {self.labels.shape[1]} label level(s))"

    def fine(self) -> list[np.ndarray]:
        """The logits of the fine level, one array (examples, classes) a stage."""
        return [stage[0] for stage in self.logits]

    def outcomes(
        self, *, combine: Combine | None = None, confidence: Confidence = "max_probability"
    ) -> Outcomes:
        """Answers and confidences on the fine level; see `Outcomes.of`."""
        return Outcomes.of(self.fine(), self.labels[:, 0], combine=combine, confidence=confidence)


def write_outputs(outputs: Outputs, path: Path | str) -> Path:
    """Writes one .safetensors file, atomically: tensors `stage-1.level-1`, ... and `labels`, the rest as JSON
    in its metadata.

    Raises:
        ValueError: for another ending.
        OSError: if the file cannot be written.
    """
    import safetensors.numpy

    path = Path(path)
    check_outputs_path(path)
    tensors = {
        name: np.ascontiguousarray(array)
        for name, array in zip(
            _names(outputs.num_stages, outputs.labels.shape[1]), _flat(outputs), strict=True
        )
    }
    about = {
        "data": outputs.data,
        "split": outputs.split,
        "class_names": list(outputs.class_names),
        "costs": [asdict(cost) for cost in outputs.costs],
        "device": outputs.device,
    }
    metadata = {"format": _FORMAT, "version": str(_VERSION), "about": json.dumps(about)}
    labels = np.ascontiguousarray(outputs.labels, dtype=np.int64)
    write_bytes(path, safetensors.numpy.save({**tensors, "labels": labels}, metadata=metadata))
    return path


def read_outputs(path: Path | str) -> Outputs:
    """What `write_outputs` wrote.

    Raises:
        DataError: for a file that is damaged or something else.
        OSError: if there is none.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    check_regular(path)  # an absent file gets the operating system's words
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT or metadata.get("version") != str(_VERSION):
                raise DataError(
                    f"{path} holds no outputs that this version reads: write it again with "
                    "evaluation.write_outputs(an.collect_outputs(bundle), FILE)"
                )
            about = parse_json(metadata["about"])
            labels = file.get_tensor("labels")
            levels = labels.shape[1]
            names = _names(len(about["costs"]), levels)
            arrays = [file.get_tensor(name) for name in names]
        return Outputs(
            logits=tuple(tuple(arrays[i : i + levels]) for i in range(0, len(arrays), levels)),
            labels=labels,
            costs=tuple(OutputCost(**cost) for cost in about["costs"]),
            data=about["data"],
            split=about["split"],
            class_names=tuple(about["class_names"]),
            device=about.get("device"),
        )
    except (SafetensorError, KeyError, TypeError, IndexError, ValueError) as error:
        raise DataError(f"{path} is damaged or holds no outputs ({error}): write it again") from error


def check_outputs_path(path: Path) -> None:
    """Raises ValueError unless outputs can be written to a file of this name."""
    if path.suffix != ".safetensors":
        raise ValueError(f"outputs are written to a file that ends in .safetensors, not to {path}")


def _names(stages: int, levels: int) -> list[str]:
    return [f"stage-{k}.level-{i}" for k in range(1, stages + 1) for i in range(1, levels + 1)]


def _flat(outputs: Outputs) -> Sequence[np.ndarray]:
    return [level for stage in outputs.logits for level in stage]
