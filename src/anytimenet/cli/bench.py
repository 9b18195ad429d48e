"""`anytimenet bench BUNDLE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anytimenet.cli.output import emit

if TYPE_CHECKING:
    from anytimenet.runtime.profiling.sweeps import Bench as Found


@dataclass(frozen=True)
class Bench:
    """Measure a bundle on this machine: batches of growing size, and single images under growing deadlines.

    Half of the time goes to each sweep; deadlines are planned with the latencies that the first one measured.
    JSON: {table, batches: [{batch, stage, median_ms, p99_ms, images_per_second, estimated}], deadlines:
    [{deadline_ms, calls, late, late_running, median_ms, p99_ms, shares, mean_stage, accuracy}]}. late_running
    leaves out calls that were late because the system had given the processor to somebody else.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, or of the run that made it."""
    backend: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """What runs the segments: native, eager, compiled, onnxruntime, openvino; by default the native engine
    where that runs the net, else eager PyTorch."""
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Images that run together."""
    deadlines_ms: tuple[float, ...] = ()
    """Deadlines to try; by default eight from what stage 1 hardly needs to 1.2 times the full net, plus
    what a call takes beside its segments."""
    calls: int = 500
    """Images for each deadline; fewer if the time ends."""
    minutes: float = 2.0
    """Time to spend."""
    threads: int = 1
    """CPU threads of one run."""
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = "float32"
    """Number format of weights and images."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """Where to measure, such as cpu or cuda:1; auto is the processor, where `predict` runs."""
    out: Path | None = None
    """Write bench.json, bench.csv with all points, and bench.png into this folder."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""

    def run(self) -> None:
        """Measures and prints."""
        from anytimenet.core.errors import require

        require("torch", "train")
        from anytimenet.workflows import bench, load, write_bench

        bundle = load(self.bundle)
        found = bench(
            bundle,
            backend=self.backend,
            batch_sizes=self.batch_sizes,
            deadlines_ms=self.deadlines_ms,
            calls=self.calls,
            minutes=self.minutes,
            threads=self.threads,
            dtype=self.dtype,
            device=self.device,
        )
        if self.out is not None:
            write_bench(found, self.out, score=bundle.manifest.score_in_words)
        if emit(self.json, found.to_dict()):
            print_bench(found)


def print_bench(found: Found) -> None:
    """Both sweeps, for people."""
    print(f"measured as {found.table}")
    stages = sorted({point.stage for point in found.batches})
    print("images a second of the sub-network of each stage")
    print("batch" + "".join(f"  {f'stage {stage}':>9}" for stage in stages))
    rates = {(p.batch, p.stage): f"{'~' * p.estimated}{p.images_per_second:.0f}" for p in found.batches}
    for batch in sorted({point.batch for point in found.batches}):
        print(f"{batch:5}" + "".join(f"  {rates.get((batch, stage), '-'):>9}" for stage in stages))
    if not found.deadlines:
        return
    print("single images within a deadline")
    print("deadline ms  calls  late %  late running %  median ms  p99 ms  mean stage  accuracy %")
    for point in found.deadlines:
        running = "-" if point.late_running is None else f"{100 * point.late_running:.1f}"
        accuracy = "-" if point.accuracy is None else f"{100 * point.accuracy:.1f}"
        print(
            f"{point.deadline_ms:11.3f}  {point.calls:5}  {100 * point.late:6.1f}  {running:>14}  "
            f"{point.median_ms:9.3f}  {point.p99_ms:6.2f}  {point.mean_stage:10.2f}  {accuracy:>10}"
        )
