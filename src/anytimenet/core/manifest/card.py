"""The README.md of a bundle: what it is, how good it is at which cost, and how to use it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence

from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import TASKS, Thresholds
from anytimenet.core.manifest.seen_images import SEEN_NAME
from anytimenet.core.uncounted import MARK, incomplete_note

CURVE = "curve.png"


def model_card(manifest: Manifest, cost_tables: Mapping[str, CostTable], files: Collection[str] = ()) -> str:
    """Markdown for people; a picture of the curve is shown if `curve.png` is among `files`."""
    name = _plain(_name(manifest))
    blocks = [
        f"# {name}, an anytime net",
        _summary(manifest),
        *([f"![{_plain(manifest.score_in_words)} against multiply-adds]({CURVE})"] if CURVE in files else []),
        "## Stages\n" + _stage_table(manifest, cost_tables),
        *([] if manifest.thresholds is None else ["## Early exits\n" + _exits(manifest.thresholds)]),
        "## Data\n" + _data(manifest),
        *([f"## Weights\n{_weights(manifest)}"] if _started_from(manifest) else []),
        "## Use\n" + _usage(manifest),
        "## Provenance\n" + _fenced(json.dumps(manifest.provenance, indent=2, ensure_ascii=False), "json"),
        "## Files\n" + _files(manifest),
    ]
    return "\n\n".join(blocks) + "\n"


def _summary(manifest: Manifest) -> str:
    if manifest.num_stages == 1:
        return "A net with one prediction of fixed cost, for comparison. Saved by anytimenet."
    return (
        f"One set of weights with {manifest.num_stages} predictions of rising cost: it answers within any "
        "budget that stage 1 fits, the better the more may be spent. Saved by anytimenet."
    )


def _stage_table(manifest: Manifest, cost_tables: Mapping[str, CostTable]) -> str:
    tables, selection = [cost_tables[key] for key in sorted(cost_tables)], manifest.level_selection
    head = ["stage", "multiply-adds", "parameters", f"validation {_plain(manifest.score_in_words)}"]
    head += ["answers on level"] if selection else []
    head += [f"median on {_plain(where)}" for where in _places(tables)]
    rows = [head, ["--:"] * len(head)]
    for record in manifest.stages:
        accuracy = "" if record.val_accuracy is None else f"{100 * record.val_accuracy:.2f} %"
        row = [
            str(record.stage),
            f"{record.macs:,}{MARK * (not record.macs_complete)}",
            f"{record.params:,}",
            accuracy,
        ]
        row += [str(selection.levels[record.stage - 1])] if selection else []
        rows.append(row + [_latency(table, record.stage) for table in tables])
    note = "\nCosts are those of the stage's sub-network alone, for one image; one multiply-add counts 1."
    if manifest.uncounted_operators:
        note += f"\n\n{incomplete_note(manifest.uncounted_operators)}"
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n" + note


def _exits(thresholds: Thresholds) -> str:
    words = (
        f"Where no stage and no multiply-adds are named, an image leaves as soon as the policy "
        f"{_plain(thresholds.policy)} lets it."
    )
    told = {key: thresholds.about[key] for key in ("contract", "held_out") if key in thresholds.about}
    if not told:
        return words
    solved = _fenced(json.dumps(told, indent=2, ensure_ascii=False), "json")
    return f"{words} What its thresholds were solved for, and what came of it on other images:\n\n{solved}"


def _name(manifest: Manifest) -> str:
    if manifest.net is not None:
        return manifest.net.name
    assert manifest.structure is not None
    return manifest.structure.class_name


def _places(tables: Sequence[CostTable]) -> list[str]:
    """Where each table was measured, in no more words than tell them apart."""
    machines = {str(table.machine["id"]) for table in tables}
    told = []
    for table in tables:
        words = [table.device, table.backend]
        words += [f"{table.threads} threads"] * (table.threads > 1) + [table.dtype] * (
            table.dtype != "float32"
        )
        words += [f"machine {table.machine['id']}"] * (len(machines) > 1)
        told.append(", ".join(words))
    return told


def _latency(table: CostTable, stage: int) -> str:
    entry = table.entries.get((0, stage, 1))
    return "" if entry is None else f"{entry.median_ms:.2f} ms{' (estimated)' * entry.estimated}"


def _data(manifest: Manifest) -> str:
    channels, height, width = manifest.input_shape
    lines = [f"- Input: {channels} x {height} x {width} (channels, height, width)."]
    for depth, names in enumerate(manifest.class_names):
        level = "" if len(manifest.class_names) == 1 else f" of level {depth + 1}"
        shown = ", ".join(_plain(name) for name in names[:20]) + (", ..." if len(names) > 20 else "")
        lines.append(f"- {len(names)} classes{level}: {shown}.")
    return "\n".join(lines)


def _started_from(manifest: Manifest) -> str:
    """Whose weights its training started from; empty where they were drawn."""
    source = manifest.provenance.get("weights")
    return source if isinstance(source, str) else ""


def _weights(manifest: Manifest) -> str:
    return (
        f"Training started from trained weights: {_plain(_started_from(manifest))}. What they were learnt "
        "from has terms of its own, which this bundle does not change."
    )


def _usage(manifest: Manifest) -> str:
    if manifest.net is None:
        assert manifest.structure is not None
        code = 'from anytimenet import load\n\nbundle = load("PATH OF THIS FOLDER", net=NET)'
        return f"{_plain(manifest.structure.note)}\n\n{_fenced(code, 'python')}"
    less = "  # stages=1 reads less and loads the first stage only" if manifest.num_stages > 1 else ""
    budget, maps = manifest.stages[-1].macs, manifest.task_kind == "segmentation"
    spend = "" if manifest.uncounted_operators else f", budget_macs={budget}"
    names, answer = "Bundle", f'bundle.predict("IMAGE.png"{spend}).label'
    if maps:
        names, answer = "Bundle, label_map", f'label_map(bundle, "IMAGE.png"{spend}).classes'
    elif manifest.task_kind not in TASKS:
        answer = f"bundle.segment_for({manifest.num_stages})((INPUT,))"
    code = (
        f"from anytimenet import {names}\n\n"
        f'bundle = Bundle.load("PATH OF THIS FOLDER"){less}\n'
        f"print({answer})"
    )
    return _fenced(code, "python")


def _files(manifest: Manifest) -> str:
    return (
        "`bundle.json` holds the labels, preprocessing, costs and the hash of every other file. "
        f"`model-0000k-of-{manifest.num_stages:05d}.safetensors` holds the weights that stage k is the first "
        "to use: the first k files are a complete smaller net. A whole tensor is stored under its name, a "
        "rectangle of one under its name and box, `name[start:stop,...]`."
        + (
            f" `{SEEN_NAME}` holds a fingerprint of every image of the data, by which `evaluate` knows those "
            "that the net was trained on; no image can be made from it."
            if SEEN_NAME in manifest.files
            else ""
        )
    )


def _plain(text: str) -> str:
    """`text` without what markdown would take for markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any in `text`."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
