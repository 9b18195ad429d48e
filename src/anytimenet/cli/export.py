"""`anytimenet export BUNDLE --out FOLDER`."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from anytimenet.cli.output import emit

if TYPE_CHECKING:
    from anytimenet.bundle import Bundle
    from anytimenet.runtime import ExportedNet


@dataclass(frozen=True)
class Export:
    """Write a bundle as a folder that runs on devices without PyTorch.

    Weights are stored once, in files by stage. ONNX files run in ONNX Runtime and in OpenVINO; OpenVINO's own
    load without ONNX. Only segments that were exported can be run: by default every step from stage to stage,
    and every sub-network from the input. JSON: {out, format, segments: [{start, stop, macs, files}], bytes,
    weight_bytes, int8}, the last null or {images, compared, agreement, accuracies, before}.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, or of the run that made it."""
    out: Path
    """The new folder."""
    format: Literal["onnx", "openvino", "torch", "native"] = "onnx"
    """What the files are; programs of torch need PyTorch, and are loaded only from people you trust."""
    segments: Annotated[tuple[str, ...], tyro.conf.arg(metavar="all|A-B ...")] = ()
    """These segments: 0-2 1-3 goes from the input to stage 2 and from stage 1 to stage 3; all of them."""
    int8: int | None = None
    """Compute convolutions with 8-bit whole numbers, whose ranges so many training images show, 256 for
    example. ONNX only; accuracies are measured anew. Small nets are not faster so."""
    data: str | None = None
    """With --int8: data by name or folder:PATH; by default that of the training."""
    data_root: Path | None = None
    """With --int8: where the files of data by name are, instead of $ANYTIMENET_DATA or ./data."""
    trained_data: bool = False
    """With --int8: follow the path that the bundle says its training data is at."""
    state_dtype: Literal["float32", "float16"] = "float32"
    """What states are kept in between segments, which compute in float32: float16 halves them."""
    single_file: bool = False
    """Write all stages as one ONNX file, --out; engines compute all of them, whichever is asked for."""
    overwrite: bool = False
    """Replace an export that is at --out."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""

    def run(self) -> None:
        """Writes the folder, and says what is in it."""
        from anytimenet.core.errors import require

        require("torch", "train")
        from anytimenet.runtime import ExportedNet
        from anytimenet.workflows import export_bundle, load
        from anytimenet.workflows.exporting import every_segment

        pairs = parse_segments(self.segments)
        bundle = load(self.bundle)
        if self.single_file:
            self._write_one_file(bundle)
            return
        if pairs == "all":
            pairs = every_segment(bundle.num_stages)
        export_bundle(
            bundle,
            self.out,
            format=self.format,
            segments=pairs,
            int8=self.int8,
            state_dtype=self.state_dtype,
            overwrite=self.overwrite,
            data=self.data,
            data_root=self.data_root,
            trust_paths=self.trained_data,
        )
        exported = ExportedNet.load(self.out)
        result = described(exported)
        if emit(self.json, result):
            print(_table(result))
            if "int8" in exported.about:
                print(int8_table(exported.about["int8"]))
            engines = " or ".join(ENGINES[exported.kind])
            print(f"{self.out}: {result['bytes']:,} bytes, {result['weight_bytes']:,} of them weight files.")
            if exported.kind == "torch":
                print(f"It runs in {engines}, after import anytimenet.export.programs.")
            else:
                print(f"It runs in {engines}: python -m anytimenet.runtime profile {self.out}")

    def _write_one_file(self, bundle: Bundle) -> None:
        from anytimenet.export import export_single_file
        from anytimenet.export.single_file import COMPUTES_ALL

        if self.format != "onnx" or self.segments or self.int8:
            raise ValueError(
                "--single-file is ONNX with all stages: leave out --format, --segments and --int8"
            )
        with warnings.catch_warnings():  # the last line below says it in the words of the command line
            warnings.filterwarnings("ignore", message=COMPUTES_ALL)
            file = export_single_file(bundle, self.out, overwrite=self.overwrite)
        result = {"out": str(file), "format": self.format, "bytes": file.stat().st_size}
        if emit(self.json, result):
            print(f"{file}: {result['bytes']:,} bytes, {bundle.num_stages} stages.")
            print("Engines compute all of them, whichever output is asked for: this file saves no time.")


ENGINES = {
    "onnx": ("onnxruntime", "openvino"),
    "openvino": ("openvino",),
    "torch": ("PyTorch",),
    "native": ("the native engine",),
}
"""What runs a format."""


def parse_segments(words: tuple[str, ...]) -> list[tuple[int, int]] | Literal["all"] | None:
    """What `--segments` says: pairs, all of them, or None for those that are exported by default.

    Raises:
        ValueError: for anything else.

    >>> parse_segments(("0-2", "1-3,2-3")), parse_segments(("all",)), parse_segments(())
    ([(0, 2), (1, 3), (2, 3)], 'all', None)
    """
    if words == ("all",):
        return "all"
    found = []
    for word in ",".join(words).split(",") if words else ():
        match = re.fullmatch(r"(\d{1,6})-(\d{1,6})", word)
        if match is None:
            raise ValueError(f"--segments {word!r}: A-B is needed, 0-2 for example, or all")
        found.append((int(match[1]), int(match[2])))
    return found or None


def described(exported: ExportedNet) -> dict[str, Any]:
    """What is in an exported folder, as JSON."""
    segments = [
        {
            "start": spec.start,
            "stop": spec.stop,
            "macs": spec.macs,
            "files": [file.name for file in exported.files_of(spec.start, spec.stop)],
        }
        for spec in exported.segment_specs
    ]
    weights = [file for stage in range(1, exported.num_stages + 1) for file in exported.weight_files(stage)]
    return {
        "out": str(exported.folder),
        "format": exported.kind,
        "segments": segments,
        "bytes": sum(file.stat().st_size for file in exported.folder.rglob("*") if file.is_file()),
        "weight_bytes": sum(file.stat().st_size for file in weights),
        "int8": exported.about.get("int8"),
    }


def _table(result: dict[str, Any]) -> str:
    from anytimenet.evaluation import format_count
    from anytimenet.evaluation.text.tables import plain_table

    segments = result["segments"]
    return plain_table(
        [
            ("segment", [f"{one['start']}-{one['stop']}" for one in segments]),
            ("multiply-adds", [format_count(one["macs"]) for one in segments]),
            ("file", [one["files"][0] for one in segments]),
        ]
    )


def int8_table(found: dict[str, Any]) -> str:
    """How 8-bit segments compare with the net in float32, a line a stage.

    >>> print(int8_table({"compared": 20, "agreement": [0.95], "accuracies": [[0.9]], "before": [[0.85]]}))
    8-bit segments beside float32, on 20 images
    stage  same answers %  accuracy %  float32 %
        1            95.0        90.0       85.0
    """
    from anytimenet.evaluation.text.tables import plain_table

    columns = [
        ("stage", [str(stage) for stage in range(1, len(found["agreement"]) + 1)]),
        ("same answers %", [f"{100 * share:.1f}" for share in found["agreement"]]),
    ]
    if found["accuracies"] is not None:
        columns += [
            ("accuracy %", [f"{100 * row[0]:.1f}" for row in found["accuracies"]]),
            ("float32 %", [f"{100 * row[0]:.1f}" for row in found["before"]]),
        ]
    return f"8-bit segments beside float32, on {found['compared']} images\n{plain_table(columns)}"
