"""Writes src/anytimenet/core/registered.json from the registries: the lists that need no torch.

python docs/reference/generate_registered.py            writes the file
python docs/reference/generate_registered.py --check    exits with 1 if the file is not what would be written
--quick with --check counts no net of many stages or large images anew: their shapes are compared alone.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from page_file import write_or_check

from anytimenet.cli.info import CLASSES, counted
from anytimenet.cli.listing import live_records
from anytimenet.core.registered import TABLE, registered
from anytimenet.nets import build_on_meta, create_net, net_entry


def table() -> str:
    """The whole file: one line a record, so that a change shows where it is."""
    kinds = {kind: live_records(kind) for kind in ("nets", "recipes", "schemes", "data")}
    kinds["nets"] = [{**record, "costs": _costs(record["name"])} for record in kinds["nets"]]
    parts = [f"{json.dumps(kind)}: [\n{_lines(records)}\n]" for kind, records in kinds.items()]
    return "{" + ",\n".join(parts) + "}\n"


def _costs(name: str) -> dict[str, Any]:
    net = build_on_meta(lambda: create_net(name, CLASSES))
    shape = (net.in_channels, *net_entry(name).input_shape[1:])
    if "--quick" in sys.argv and (net.num_stages > 8 or shape[1] > 32):
        known = {record["name"]: record["costs"] for record in registered("nets")}.get(name)
        stored = sum(parameter.numel() for parameter in net.parameters())
        facts = ("num_stages", net.num_stages), ("stored_params", stored), ("input_shape", list(shape))
        return known if known and all(known[key] == value for key, value in facts) else {}
    return counted(name, net, shape)


def _lines(records: list[dict[str, Any]]) -> str:
    return ",\n".join(json.dumps(record) for record in records)


if __name__ == "__main__":
    write_or_check(TABLE, table())
