"""The four label levels of CUB-200-2011: 200, 183, 149 and 80 classes.

Source: the sliced-networks paper, section 4.3. Every species hangs below a synset of WordNet 3.0, whose
hypernyms lead to *bird*; single children are kept. The levels are the ancestors at depth 7, 5, 4 and 3 of
that tree, which give the paper's numbers of labels, 99 inner nodes and depth 8.
"""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Sequence

from anytimenet.core.labels.taxonomy import Taxonomy

_FILE = "cub_levels.csv"
_COARSER = (2, 3, 4)


def cub_taxonomy(class_names: Sequence[str]) -> Taxonomy | None:
    """The levels of these classes, named as in CUB's classes.txt; None if one is no species of CUB.

    Coarser classes are numbered in the order of the table, without those that no class belongs to.

    >>> names = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "004.Groove_billed_Ani"]
    >>> cub_taxonomy(names).levels[2]
    ('004.Groove_billed_Ani', 'albatross')
    """
    table = {row["class_name"]: row for row in _rows()}
    rows = [table.get(name.partition(".")[2] or name) for name in class_names]
    known = [row for row in rows if row is not None]
    if len(known) < len(rows):
        return None
    levels, columns = [tuple(class_names)], []
    for level in _COARSER:
        nodes = {int(row[f"level{level}_id"]): row[f"level{level}_node"] for row in known}
        order = sorted(nodes)
        levels.append(tuple(nodes[i] for i in order))
        columns.append([order.index(int(row[f"level{level}_id"])) for row in known])
    return Taxonomy(tuple(levels), tuple(zip(*columns, strict=True)))


def _rows() -> list[dict[str, str]]:
    home = importlib.resources.files("anytimenet.data.sources.named")
    text = home.joinpath(_FILE).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
