"""Every row of the native engine's table in one command, within 12 minutes on a quiet machine with two cores.

python benchmarks/engine_table.py [--quick]

Runs the scripts below one after the other, each on one core but for the threads', and writes their results,
the roofline's picture, and the table in docs/concepts/native-engine.md. Commit before: results are named by
the commit. `--quick` runs two rounds of each, to see that all is there, and writes to a folder of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from history import history

from native import roofline

BENCHMARKS = Path(__file__).parent
ROUNDS = {
    "native/engine": 15,
    "native/photographs": 9,
    "native/layer_major": 7,
    "native/kernels": 5,
    "native/latency": 3,
    "native/threads": 7,
    "native/wasm": 9,
}
"""Of each script; together they fit."""
BOTH_CORES = ("native/threads",)
PAGE = BENCHMARKS.parent / "docs/concepts/native-engine.md"
PICTURE = BENCHMARKS.parent / "docs/pictures/native_roofline.png"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_MORE_IS_BETTER = ("over torch", "that the processor can do", "2 threads over 1")


def main() -> int:
    """Runs, writes, and prints the table; 1 if a script failed."""
    options = _options()
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) if options.quick else BENCHMARKS / "results"
        codes = [_run(script, 2 if options.quick else rounds, out) for script, rounds in ROUNDS.items()]
        found = [results[-1] for script in ROUNDS if (results := history(out, _name(script)))]
        print(table(found))
        if any(codes):
            return 1
        if not options.quick:
            write(found)
    return 0


def write(results: Sequence[dict[str, Any]]) -> None:
    """The picture, and the page's table between its marks."""
    kernels = next(result for result in results if result["benchmark"] == "native/kernels")
    roofline.draw(kernels, PICTURE)
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}", encoding="utf-8")


def table(results: Sequence[dict[str, Any]]) -> str:
    """The rows that have something to reach, and what the machine was."""
    machine = results[0]["machine"]
    sets = next(result["instruction_sets"] for result in results if "instruction_sets" in result)
    lines = [
        f"Measured at commit {results[0]['commit']} on {machine['cpu']}, {machine['cores']} cores, "
        f"{', '.join(sets)}: `python benchmarks/engine_table.py`.",
        "",
        "| what | reach | measured |",
        "|---|--:|--:|",
    ]
    for result in results:
        lines += [_line(row) for row in result["rows"] if "reach" in row]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    what = row["what"]
    if "rate over torch" in row:
        what, measured = f"{what}: rate over torch", row["rate over torch"]
    else:
        measured = row["p99"] if "from a cancel" in what else row["ratio"]
    more = any(words in what for words in _MORE_IS_BETTER)
    reached = measured >= row["reach"] if more else abs(measured) <= row["reach"]
    told = [word for word in ("" if reached else "missed", _details(row)) if word]
    return f"| {what} | {row['reach']} | {measured}{' (' + '; '.join(told) + ')' if told else ''} |"


def _details(row: dict[str, Any]) -> str:
    if "other_ms" in row:
        return f"{row['ms']} of {row['other_ms']} ms"
    if "gflops" in row:
        return f"{row['gflops']} of {row['peak_gflops']} GFLOP/s"
    if "median" in row:
        return f"median {row['median']} us, {row['away']} of {row['calls'] + row['away']} calls apart"
    return ""


def _run(script: str, rounds: int, out: Path) -> int:
    cores = sorted(os.sched_getaffinity(0))
    pinned = [] if script in BOTH_CORES else ["taskset", "-c", str(cores[-1])]
    command = [*pinned, sys.executable, str(BENCHMARKS / "run.py"), script]
    begun = time.monotonic()
    code = subprocess.run(
        [*command, "--rounds", str(rounds), "--out", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    ).returncode
    print(f"{script}: {time.monotonic() - begun:.0f} s", flush=True)
    return code


def _name(script: str) -> str:
    return script.replace("/", "-").replace("_", "-")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two rounds of each, nothing is kept")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
