"""CUB-200-2011 (Wah et al. 2011) from the text files and images of its archive, with its label levels.

Source of the levels (200, 183, 149 and 80 classes): the sliced-networks paper, section 4.3. Every species
hangs below a synset of WordNet 3.0, whose hypernyms lead to *bird*; single children are kept. The levels are
the ancestors at depth 7, 5, 4 and 3 of that tree, which give the paper's numbers of labels, 99 inner nodes
and depth 8.
"""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Sequence
from pathlib import Path

from anytimenet.core.errors import DataError
from anytimenet.core.files.regular import read_text
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.data.sets.image_set import ImageFiles
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits
from anytimenet.data.sets.taxonomies import read_taxonomy
from anytimenet.data.sources.named.catalogue import CUB
from anytimenet.data.sources.named.in_files import label_column, split_files

_IMAGES, _CLASSES, _LABELS, _SPLIT = (
    "images.txt",
    "classes.txt",
    "image_class_labels.txt",
    "train_test_split.txt",
)


def load_cub(path: Path, options: DataOptions) -> DataSplits:
    """5,994 training and 5,794 test images of 200 species, 1,000 of the former held out.

    `path` is the archive's folder `CUB_200_2011`, or holds it. The levels are those of the sliced-networks
    paper (200, 183, 149 and 80 classes), unless a `taxonomy.json` there gives others.

    Raises:
        DataError: if a text is missing or malformed, or the texts do not agree.
    """
    base = path.expanduser()
    root = base if (base / _IMAGES).is_file() else base / "CUB_200_2011"
    texts = (_IMAGES, _CLASSES, _LABELS, _SPLIT)
    if missing := [name for name in texts if not (root / name).is_file()]:
        raise DataError(
            f"cub needs {', '.join(missing)} and images/ in {base}: unpack CUB_200_2011.tgz of {CUB.page} "
            "there (download=True does not fetch it)"
        )
    images, classes, labels, split = (_table(root / name) for name in texts)
    for name, table in ((_LABELS, labels), (_SPLIT, split)):
        if set(table) != set(images):
            raise DataError(f"{root / name} and {_IMAGES} are of different images; get both again")
    order = sorted(classes, key=int)
    names = [classes[i] for i in order]
    ids = {class_id: i for i, class_id in enumerate(order)}
    if unknown := sorted(set(labels.values()) - set(ids)):
        raise DataError(f"{root / _LABELS} has the class {unknown[0]}, which {_CLASSES} lacks")
    if set(split.values()) != {"0", "1"}:
        raise DataError(f"{root / _SPLIT} must say 1 for training and 0 for test images, of both some")
    numbered = sorted(images, key=int)
    parts = {
        part: _files(root, [i for i in numbered if split[i] == flag], images, labels, ids)
        for part, flag in (("train", "1"), ("test", "0"))
    }
    taxonomy = None if isinstance(options.taxonomy, dict) else _own_taxonomy(root, names)
    return split_files(CUB, path, parts, names, options, taxonomy)


def _own_taxonomy(root: Path, names: Sequence[str]) -> Taxonomy | None:
    return read_taxonomy(root / "taxonomy.json", names) or cub_taxonomy(names)


def _files(
    root: Path, chosen: Sequence[str], images: dict[str, str], labels: dict[str, str], ids: dict[str, int]
) -> ImageFiles:
    column = label_column([ids[labels[i]] for i in chosen])
    return ImageFiles(root, column, tuple(f"images/{images[i]}" for i in chosen))


def _table(path: Path) -> dict[str, str]:
    """Lines of a number and a value."""
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    rows = [line.split(maxsplit=1) for line in lines if line.strip()]
    table = {row[0]: row[1].strip() for row in rows if len(row) == 2 and row[0].isdecimal()}
    if not table or len(table) != len(rows):
        raise DataError(f"{path} needs lines of a number and a value, each number once; get it again")
    return table


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
