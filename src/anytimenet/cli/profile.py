"""`anytimenet profile BUNDLE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from anytimenet.cli.output import emit


@dataclass(frozen=True)
class Profile:
    """Measure the latency of a net's segments on this machine and keep the cost table in its bundle.

    Steps and the jumps from the input come first; what does not fit within --minutes is estimated and marked
    so. JSON: the cost table as it stands in the bundle under costs2/.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, of the run that made it, or of an exported net."""
    backend: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """What runs the segments: native, eager, compiled, onnxruntime, openvino; by default the native engine
    where that runs the net, else eager PyTorch; of an exported net what its files are for."""
    minutes: float = 1.0
    """Time to spend."""
    batch_sizes: tuple[int, ...] = (1,)
    """Images in a batch."""
    threads: int = 1
    """CPU threads of one run; one is right where requests come one by one."""
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = "float32"
    """Number format of weights and images."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """Where to measure, such as cpu or cuda:1; auto is the processor, where `predict` runs."""
    image: Path | None = None
    """A file that is typical of what will be asked, for the time of decoding; by default one is made up."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the cost table as JSON, or write it to a file."""

    def run(self) -> None:
        """Measures, prints, saves."""
        from anytimenet.core.errors import require

        require("torch", "train")
        from anytimenet.runtime.profiling.text import table_text
        from anytimenet.workflows import profile

        table = profile(
            self.bundle,
            backend=self.backend,
            minutes=self.minutes,
            batch_sizes=self.batch_sizes,
            threads=self.threads,
            dtype=self.dtype,
            device=self.device,
            image=self.image,
        )
        if emit(self.json, table.to_json()):
            print(table_text(table))
