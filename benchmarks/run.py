"""Runs the benchmarks, all or some, and writes `results/<name>/<commit>-<machine>.json` for each.

python benchmarks/run.py                      every benchmark, one process each
python benchmarks/run.py training/steps       one of them
python benchmarks/run.py --rounds 3           fewer rounds
python benchmarks/run.py --history nets/msdnet       what was measured of one so far
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from history import commit, history, place, rows_by_commit

HERE = Path(__file__).parent
SCRIPTS = (
    "training/steps",
    "training/growth",
    "training/breakdown",
    "training/families",
    "data/loader",
    "data/stream",
    "nets/msdnet",
    "schemes/steps",
    "runtime/leaving",
    "runtime/overhead",
    "runtime/deadlines",
    "runtime/stopping",
    "runtime/planning",
    "runtime/views",
    "runtime/segments",
    "native/engine",
    "serving/scheduler",
    "serving/policies",
    "native/photographs",
    "native/layer_major",
    "native/kernels",
    "native/latency",
    "native/threads",
    "native/wasm",
)


def main() -> int:
    options = _options()
    if options.history:
        for script in options.scripts or SCRIPTS:
            name = importlib.import_module(script.replace("/", ".")).NAME
            print(f"\n{script}")
            _show(rows_by_commit(history(options.out, name)))
        return 0
    if len(options.scripts) == 1:
        _run(options.scripts[0], options.rounds, options.out)
        return 0
    # A process each: what one benchmark leaves in caches and allocators is not there for the next.
    arguments = ["--rounds", str(options.rounds), "--out", str(options.out)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    codes = [
        subprocess.run([sys.executable, __file__, script, *arguments], env=one_thread, check=False).returncode
        for script in options.scripts or SCRIPTS
    ]
    return max(codes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=", ".join(SCRIPTS))
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds of each comparison")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--history", action="store_true", help="print what was measured so far, run nothing")
    options = parser.parse_args()
    for script in options.scripts:
        if script not in SCRIPTS:
            parser.error(f"no benchmark {script!r}; there are {', '.join(SCRIPTS)}")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def _run(script: str, rounds: int, out: Path) -> None:
    import torch

    from anytimenet.core.files.writing import write_json
    from anytimenet.core.manifest.machine import machine_stamp

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = importlib.import_module(script.replace("/", "."))
    print(f"\n{script}: {module.__doc__.splitlines()[0]}", flush=True)
    result = module.measure(rounds)
    stamp = machine_stamp({"torch": torch.__version__})
    head = {
        "benchmark": script,
        "commit": commit(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": stamp,
        "threads": 1,
        "rounds": rounds,
    }
    path = place(out, module.NAME, head["commit"], stamp["id"])
    write_json(path, {**head, **result})
    _show(result["rows"])
    print(f"written to {path}", flush=True)


def _show(rows: list[dict[str, Any]]) -> None:
    """Rows with equal keys as one table, missing values as a dash."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
