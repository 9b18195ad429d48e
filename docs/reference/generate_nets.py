"""Writes docs/reference/nets.md from the registry and what generate_registered.py, run before, wrote of it.

python docs/reference/generate_nets.py            writes the page
python docs/reference/generate_nets.py --check    exits with 1 if the page is not what would be written
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import torch
from page_file import write_or_check

from anytimenet.cli.info import CLASSES
from anytimenet.core.registered import registered
from anytimenet.costs import count
from anytimenet.evaluation import format_count
from anytimenet.nets import NetEntry, create_net, list_nets, net_entry
from anytimenet.nets.prefixes import prefixes

PAGE = Path(__file__).with_name("nets.md")

_INTRODUCTION = """\
# Nets by name
Written by `python docs/reference/generate_nets.py` from the registry; a test compares. Every name is an
argument of `create_net`, `anytimenet info` and `anytimenet train --net`; `anytimenet info NAME` has each
step, and other conventions of counting. Counted on one image, for 10 classes (1,000 where the image has 224
pixels a side, 200 for CUB): the multiply-adds of sub-networks 1 to K, each alone, and the parameters that
are stored for all of them. What is told to be pretrained can start from trained weights (extra
`pretrained`): `create_net(NAME, pretrained=True)`, `anytimenet train --pretrained`.
"""


def page() -> str:
    """The whole page."""
    entries = sorted((net_entry(name) for name in list_nets()), key=_group)
    sections = [_section(*group, list(members)) for group, members in groupby(entries, _group)]
    return "\n".join([_INTRODUCTION, *sections, _of_others()])


def _of_others() -> str:
    """Nets of other packages, which have no names of their own here."""
    lines = [
        "## Nets of other packages",
        "Exits go where `exits=` or `taps=` say: [how](../guides/add_exits.md#your-own-timm-model).\n",
        "| name | what |",
        "|---|---|",
        *(f"| `{p.name}:{'PATH' if p.names is None else 'NAME'}` | {p.summary} |" for p in prefixes()),
    ]
    return "\n".join(lines) + "\n"


def _group(entry: NetEntry) -> tuple[str, str]:
    return entry.paper, entry.family


def _section(paper: str, family: str, entries: list[NetEntry]) -> str:
    lines = [
        f"## {family}",
        f"From *{paper}*.\n" if paper else "From no paper.\n",
        "| name | what | stages | image | multiply-adds of each stage | parameters |",
        "|---|---|--:|---|---|--:|",
        *(_line(entry) for entry in sorted(entries, key=_size)),
    ]
    return "\n".join(lines) + "\n"


def _line(entry: NetEntry) -> str:
    net, macs, params = _counted(entry)
    image = "x".join(map(str, entry.input_shape))
    counts = ", ".join(format_count(count) for count in macs)
    return f"| `{entry.name}` | {entry.summary} | {net} | {image} | {counts} | {format_count(params)} |"


def _size(entry: NetEntry) -> tuple[bool, bool, int]:
    """Published nets first, then the small ones, then those for tests; by cost among themselves."""
    name = entry.name
    return name.endswith("_tiny"), "_small" in name, _counted(entry)[1][-1]


def _classes(name: str, input_shape: Sequence[int]) -> int:
    if name.endswith("_cub"):
        return 200
    return 1000 if input_shape[1] == 224 else CLASSES


# Nets of 10 classes are counted already.
_KNOWN: dict[str, tuple[int, list[int], int]] = {
    record["name"]: (
        record["costs"]["num_stages"],
        [stage["macs"] for stage in record["costs"]["stages"]],
        record["costs"]["stored_params"],
    )
    for record in registered("nets")
    if _classes(record["name"], record["input_shape"]) == CLASSES
}


def _counted(entry: NetEntry) -> tuple[int, list[int], int]:
    """Stages, multiply-adds of each, stored parameters."""
    if entry.name not in _KNOWN:
        with torch.device("meta"):
            net = create_net(entry.name, _classes(entry.name, entry.input_shape)).eval()
            image = torch.empty(1, *entry.input_shape)
        snapshot, stages = net.snapshot(), range(1, net.num_stages + 1)
        macs = [count(snapshot.segment(0, stage, last=True), (image,)).macs for stage in stages]
        _KNOWN[entry.name] = net.num_stages, macs, sum(p.numel() for p in net.parameters())
    return _KNOWN[entry.name]


if __name__ == "__main__":
    write_or_check(PAGE, page())
