"""`anytimenet profile BUNDLE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anytimenet.cli.output import emit

if TYPE_CHECKING:
    from anytimenet.core.manifest.cost_table import CostTable


@dataclass(frozen=True)
class Profile:
    """Measure the latency of a bundle's segments on this machine and keep the cost table in the bundle.

    Steps and the jumps from the input come first; what does not fit within --minutes is estimated and marked
    so. JSON: the cost table as it stands in the bundle under costs2/.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, or of the run that made it."""
    backend: Annotated[str, tyro.conf.arg(metavar="NAME")] = "eager"
    """What runs the segments: eager, or another that is installed here."""
    minutes: float = 1.0
    """Time to spend."""
    batch_sizes: tuple[int, ...] = (1,)
    """Images in a batch."""
    threads: int = 1
    """CPU threads of one run; one is right where requests come one by one."""
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = "float32"
    """Number format of weights and images."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """Where to measure, such as cpu or cuda:1; auto takes a CUDA device where there is one and eager runs."""
    image: Path | None = None
    """A file that is typical of what will be asked, for the time of decoding; by default one is made up."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the cost table as JSON, or write it to a file."""

    def run(self) -> None:
        """Measures, prints, saves."""
        from anytimenet.core.errors import require

        require("torch", "train")
        from anytimenet.core.manifest.folder import find_bundle
        from anytimenet.workflows import load, profile

        bundle = load(self.bundle)
        table = profile(
            bundle,
            backend=self.backend,
            minutes=self.minutes,
            batch_sizes=self.batch_sizes,
            threads=self.threads,
            dtype=self.dtype,
            device=self.device,
            image=self.image,
        )
        bundle.save(find_bundle(self.bundle))
        if emit(self.json, table.to_json()):
            print_table(table)


def print_table(table: CostTable) -> None:
    """A line a segment, for people."""
    print(f"{table.device}, {table.backend}, {table.dtype}, {table.threads} thread(s)")
    print("segment  batch  median ms  lowest tenth  p95 ms  p99 ms")
    for (start, stop, batch), latency in sorted(table.entries.items()):
        low = "-" if latency.low_ms is None else f"{latency.low_ms:.3f}"
        times = f"{latency.median_ms:9.3f}  {low:>12}  {latency.p95_ms:6.3f}  {latency.p99_ms:6.3f}"
        note = "  estimated" if latency.estimated else "  unstable" if latency.unstable else ""
        print(f"({start}, {stop})  {batch:6}  {times}{note}")
    for name, time in (("decode", table.decode), ("preprocess", table.preprocess)):
        if time is not None:
            print(f"{name} an image: {time.median_ms:.3f} ms, 99 % within {time.p99_ms:.3f} ms")
    if table.state_bytes:
        sizes = ", ".join(f"{size / 1024:.1f}" for size in table.state_bytes)
        print(f"state of one image after stage 1, 2, ...: {sizes} KiB")
    if any(latency.unstable for latency in table.entries.values()):
        print("unstable: the machine was busy; measure again when it is quiet, or for more --minutes.")
