"""Which machine measured something: a stamp that goes with every latency."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_VECTORS = re.compile(r"avx\w*|amx_\w+|fma|f16c|sse4_2|neon|asimd\w*|sve\w*|sme(?!p)\w*|bf16|i8mm|fphp")
"""Instruction sets of x86 and ARM for vectors and matrices, as Linux calls them."""


def machine_stamp(extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """This machine as JSON values: hardware, system, versions, and a short `id` of the hardware.

    Keys: `id`, `cpu`, `architecture`, `cores` (logical), `memory_gib` (None where the system does not
    say), `system`, `python`, `numpy`, `instructions`: the instruction sets for vectors and matrices by the
    system's names, such as "avx512f" or "amx_bf16"; empty where it does not say. The `id` follows from
    processor, architecture and cores, so that it survives updates of the system and of packages.

    Args:
        extra: what only the caller can know, such as `{"torch": "2.11.0", "accelerator": "NVIDIA H200"}`.

    Raises:
        ValueError: if `extra` has a key of the stamp itself.

    >>> stamp = machine_stamp({"torch": "2.11.0"})
    >>> stamp["torch"], len(stamp["id"]), stamp["cores"] >= 1
    ('2.11.0', 8, True)
    """
    # Memory is not part of the id: kernels reserve more or less of it from one version to the next.
    hardware = {"cpu": _cpu_model(), "architecture": platform.machine(), "cores": os.cpu_count() or 1}
    stamp = {
        "id": hashlib.sha256(repr(sorted(hardware.items())).encode()).hexdigest()[:8],
        **hardware,
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "instructions": list(_instructions(Path("/proc/cpuinfo"))),
    }
    clash = sorted(stamp.keys() & (extra or {}).keys())
    if clash:
        raise ValueError(f"a machine stamp fills in {', '.join(clash)} itself: rename the extra value")
    return {**stamp, **(extra or {})}


def same_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether latencies measured on one hold on the other: equal `id`, and equal accelerators if both know.

    >>> same_machine({"id": "a", "torch": "2.11"}, {"id": "a", "torch": "2.13"})
    True
    >>> same_machine({"id": "a", "accelerator": "H200"}, {"id": "a", "accelerator": "T4"})
    False
    """
    accelerators = {stamp["accelerator"] for stamp in (one, other) if stamp.get("accelerator")}
    return one.get("id") == other.get("id") and len(accelerators) <= 1


def _cpu_model() -> str:
    """The processor's name as its system tells it."""
    if platform.system() == "Darwin":
        return _first_line(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.processor()
    return _cpu_from_proc(Path("/proc/cpuinfo")) or platform.processor() or platform.machine() or "unknown"


def _cpu_from_proc(path: Path) -> str:
    """Of Linux's list of processors, the model; on ARM the numbers that stand for it."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    for key in ("model name", "Model", "Hardware", "cpu model"):
        if fields.get(key):
            return " ".join(fields[key].split())
    numbers = [fields[key] for key in ("CPU implementer", "CPU part") if fields.get(key)]
    return "ARM " + " ".join(numbers) if numbers else ""


def _instructions(path: Path) -> tuple[str, ...]:
    """Of Linux's list of processors, the instruction sets of the first that matter to a net, sorted."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return tuple(sorted(flag for flag in set(value.split()) if _VECTORS.fullmatch(flag)))
    return ()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # not every system has sysconf, or these names
        return None


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().partition("\n")[0]
