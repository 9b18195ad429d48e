"""`anytimenet slice BUNDLE --stages K --out FOLDER`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from anytimenet.cli.output import emit

if TYPE_CHECKING:
    from anytimenet.bundle import Bundle
    from anytimenet.core.manifest.manifest import Manifest


@dataclass(frozen=True)
class Slice:
    """Make a smaller bundle of some stages of a bundle, with the weights that they use and no others.

    Nothing is trained, and each stage answers as before. Stages get new numbers from 1 on. Thresholds for
    early exits are left out, for they were solved for all stages together. JSON: {out, stages: [{stage, was,
    macs, params, val_accuracy}], bytes, bytes_before}, the bytes those of the weight files.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, or of the run that made it."""
    stages: Annotated[str, tyro.conf.arg(metavar="K|K,K,...")]
    """3 for the first three stages; 1,3 for these two; `3,` for the third alone."""
    out: Path
    """The new bundle's folder."""
    overwrite: bool = False
    """Replace a bundle that is at --out."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""

    def run(self) -> None:
        """Loads what is needed, saves and prints."""
        from anytimenet.core.errors import require
        from anytimenet.core.manifest.folder import check_replaceable, find_bundle
        from anytimenet.core.manifest.manifest import Manifest

        require("torch", "train")
        from anytimenet.workflows import slice_bundle

        wanted = _stages(self.stages)
        source = find_bundle(self.bundle)
        if self.out.resolve() in (source.resolve(), self.bundle.resolve()):
            raise ValueError("--out is the bundle itself: give another folder")
        check_replaceable(self.out)
        before = Manifest.read(source)
        bundle = slice_bundle(source, wanted)
        bundle.save(self.out, overwrite=self.overwrite)
        result = self._result(bundle, before, wanted)
        if emit(self.json, result):
            print(_table(result, before))
            share = result["bytes"] / result["bytes_before"]
            print(f"{self.out} has {share:.0%} of the {result['bytes_before']:,} bytes of weights before.")
            if before.thresholds is not None:
                print("The thresholds for early exits are left out: solve them for these stages.")

    def _result(self, bundle: Bundle, before: Manifest, wanted: int | list[int]) -> dict[str, Any]:
        was = list(range(1, wanted + 1)) if isinstance(wanted, int) else wanted
        stages = [
            {
                "stage": record.stage,
                "was": old,
                "macs": record.macs,
                "params": record.params,
                "val_accuracy": record.val_accuracy,
            }
            for old, record in zip(was, bundle.manifest.stages, strict=True)
        ]
        return {
            "out": str(self.out),
            "stages": stages,
            "bytes": _weight_bytes(bundle.manifest),
            "bytes_before": _weight_bytes(before),
        }


def _stages(text: str) -> int | list[int]:
    """What `--stages` says: how many of the first stages, or which.

    >>> _stages("3"), _stages("1,3"), _stages("3,")
    (3, [1, 3], [3])
    """
    from anytimenet.cli.train import parse_numbers

    numbers = parse_numbers("--stages", text.removesuffix(","))
    return numbers if "," in text else numbers[0]


def _weight_bytes(manifest: Manifest) -> int:
    from anytimenet.bundle.shards import is_shard

    return sum(record.bytes for name, record in manifest.files.items() if is_shard(name))


def _table(result: dict[str, Any], before: Manifest) -> str:
    from anytimenet.evaluation import format_count
    from anytimenet.evaluation.text.tables import plain_table

    def percent(accuracy: float | None) -> str:
        return "-" if accuracy is None else f"{100 * accuracy:.1f}"

    stages = result["stages"]
    return plain_table(
        [
            ("stage", [str(stage["stage"]) for stage in stages]),
            (f"of {before.num_stages}", [str(stage["was"]) for stage in stages]),
            ("multiply-adds", [format_count(stage["macs"]) for stage in stages]),
            ("parameters", [format_count(stage["params"]) for stage in stages]),
            (f"validation {before.score_in_words} %", [percent(stage["val_accuracy"]) for stage in stages]),
        ]
    )
