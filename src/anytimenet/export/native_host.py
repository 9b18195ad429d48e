"""`host.txt`: what a program without JSON needs beside `program.bin` and the weights, line by line."""

from __future__ import annotations

from collections.abc import Sequence

from anytimenet.core.answers.standing import standing_stage
from anytimenet.core.images.decoding import RESAMPLE
from anytimenet.core.manifest.manifest import Manifest

HOST = "host.txt"


def host_text(manifest: Manifest, program: str, shards: Sequence[str]) -> str:
    """The lines: a word that says what follows, a blank, and the values; numbers in C's notation.

    `answers` are K + 1 stages: which answer stands when 0, 1, ... K stages are finished. Classes stand in the
    order of the outputs, each level behind its `level` line, the finest first.
    """
    own, stages = manifest.preprocessing, manifest.num_stages
    validated = [stage.val_accuracy for stage in manifest.stages]
    answers = [standing_stage(range(1, done + 1), validated) or 0 for done in range(stages + 1)]
    lines = [
        "anytimenet-host 1",
        f"program {program}",
        *(f"shard {name}" for name in shards),
        f"input {own.channels} {own.height} {own.width}",
        f"resample {RESAMPLE.index(own.resample)}",
        f"shorter_side {own.shorter_side or 0}",
        f"mean {' '.join(map(repr, own.mean))}",
        f"std {' '.join(map(repr, own.std))}",
        f"answers {' '.join(map(str, answers))}",
    ]
    for names in manifest.class_names:
        lines += [f"level {len(names)}", *(f"class {' '.join(name.split())}" for name in names)]
    return "".join(f"{line}\n" for line in lines)
