"""The engine in WebAssembly beside onnxruntime-web's, in Node: full pass, steps, bytes that a page loads."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from native.engine import export_both
from timing import fresh

NAME = "native-wasm"
THEIRS = "onnxruntime-web@1.30.0"
REACH: dict[str, float] = {"isresnext_47": 0.60}
"""Full pass over theirs."""
_SCRIPT = Path(__file__).with_suffix(".mjs")


def measure(rounds: int) -> dict[str, Any]:
    """For each net the full pass over theirs; needs Node and npm, which fetches their package.

    NATIVE_NETS, words with commas between, takes other nets.
    """
    rows: list[dict[str, Any]] = []
    for name in [name for name in os.environ.get("NATIVE_NETS", "").split(",") if name] or list(REACH):
        with tempfile.TemporaryDirectory() as place:
            macs = fresh(export_both, name, Path(place))
            _install(Path(place))
            found = subprocess.run(
                [_program("node"), str(_SCRIPT), place, str(rounds)],
                check=True,
                capture_output=True,
                text=True,
            )
            rows += _rows(name, json.loads(found.stdout), macs)
            theirs = Path(place) / "node_modules/onnxruntime-web/dist"
            rows += _sizes(theirs)
    version = subprocess.run([_program("node"), "--version"], check=True, capture_output=True, text=True)
    return {"node": version.stdout.strip(), "theirs": THEIRS, "rows": rows}


def _rows(name: str, found: dict[str, Any], macs: list[int]) -> list[dict[str, Any]]:
    cpu = {work: times["cpu"] for work, times in found["times"].items()}
    wall = {work: times["wall"] for work, times in found["times"].items()}

    def ratio(one: str, other: str) -> dict[str, Any]:
        each = [a / b for a, b in zip(cpu[one], cpu[other], strict=True)]
        quartiles = statistics.quantiles(each, n=4, method="inclusive")
        least = min(cpu[one]) / min(cpu[other])
        walls = [a / b for a, b in zip(wall[one], wall[other], strict=True)]
        return {
            "ratio": round(quartiles[1], 3),
            "lower_quartile": round(quartiles[0], 3),
            "upper_quartile": round(quartiles[2], 3),
            "of_least_times": round(least, 3),
            "wall_clock_ratio": round(statistics.median(walls), 3),
        }

    full = statistics.median(cpu["full"])
    reach = {"reach": REACH[name]} if name in REACH else {}
    told = {"ms": round(full, 2), "other_ms": round(statistics.median(cpu["theirs"]), 2)}
    rate = {"GFLOP/s": round(2 * macs[-1] / full / 1e6, 1)}
    return [
        {"what": f"{name}: full network over {THEIRS}", **ratio("full", "theirs"), **reach, **told, **rate},
        {
            "what": f"{name}: stage 1 over the full network ({macs[0] / macs[-1]:.3f} of the multiply-adds)",
            **ratio("stage 1", "full"),
        },
        {"what": f"{name}: all steps with their heads over the full network", **ratio("steps", "full")},
    ]


def _sizes(theirs: Path) -> list[dict[str, Any]]:
    web = Path(str(resources.files("anytimenet.native") / "web"))
    ours = [file.read_bytes() for file in web.iterdir() if file.suffix in (".js", ".wasm")]
    others = [(theirs / name).read_bytes() for name in ("ort-wasm-simd-threaded.wasm", "ort.wasm.min.mjs")]
    return [
        {
            "what": f"kB that a page loads beside the weights, {how}",
            "ms": round(sum(map(size, ours)) / 1000, 1),
            "other_ms": round(sum(map(size, others)) / 1000, 1),
        }
        for how, size in (("as they are", len), ("compressed", lambda data: len(gzip.compress(data))))
    ]


def _install(place: Path) -> None:
    (place / "package.json").write_text('{"private": true}')
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error", THEIRS]
    subprocess.run([_program("npm"), *command[1:]], cwd=place, check=True, capture_output=True)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SystemExit(f"native/wasm needs {name}, which is not here")
    return found
