"""Where coarser classes come from: the data itself, a JSON file, or how its folders are nested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anytimenet.core import checks
from anytimenet.core.errors import DataError
from anytimenet.core.files.regular import read_json
from anytimenet.core.labels.taxonomy import Taxonomy

TaxonomySource = Mapping[str, str | Sequence[str]] | Path | str
"""`own`, `nested`, a JSON file, or what such a file holds."""


def settled_source(source: TaxonomySource | None) -> TaxonomySource | None:
    """`own` and `nested` as they are, a file or a mapping as the mapping that it holds.

    A file is read at once, so that whoever remembers the choice remembers the content.

    Raises:
        DataError: if the file cannot be read.
    """
    if source is None or (isinstance(source, str) and source in ("own", "nested")):
        return source
    if isinstance(source, Mapping):
        with checks.raised_as(DataError):
            return {checks.words(name, "taxonomy"): _coarser(up) for name, up in source.items()}
    with checks.raised_as(DataError):
        path = checks.path(source, "taxonomy").expanduser()
    if not path.is_file():
        raise DataError(
            f"the taxonomy {str(source)!r} is no file: give a JSON file of coarser names, 'nested' for "
            "folders within folders, or 'own' for the levels that the data brings"
        )
    return read_mapping(path)


def _coarser(up: object) -> str | list[str]:
    return checks.words(up, "taxonomy") if isinstance(up, str) else list(checks.all_words(up, "taxonomy"))


def chosen_taxonomy(
    source: TaxonomySource | None, class_names: Sequence[str], own: Taxonomy | None
) -> Taxonomy | None:
    """The taxonomy of these fine classes: what was given, else the data's own.

    Raises:
        DataError: if what was given is no tree of these classes, or nested folders are asked for where there
            are no folders.
    """
    if source == "nested":
        raise DataError(
            "a taxonomy from nested folders is for folder:PATH only: give a JSON file of coarser names, or "
            "'own' where the data brings levels (cifar100, cub)"
        )
    return Taxonomy.from_mapping(class_names, source) if isinstance(source, Mapping) else own


def read_taxonomy(path: Path, class_names: Sequence[str]) -> Taxonomy | None:
    """The coarser names of classes from a `taxonomy.json`; None where there is no such file.

    Raises:
        DataError: if it is not a mapping, or no tree.
    """
    if not path.exists():
        return None
    mapping = read_mapping(path)
    try:
        return Taxonomy.from_mapping(class_names, mapping)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_mapping(path: Path) -> dict[str, Any]:
    """The JSON object of a taxonomy's file.

    Raises:
        DataError: if it cannot be read, or names a class twice.
    """
    try:
        mapping = read_json(path, pairs=_once_each)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(mapping, dict):
        raise DataError(f'{path} must map class names to coarser names, for example {{"oak": "tree"}}')
    return mapping


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in mapping if names.count(name) > 1)
        raise DataError(f"{twice!r} stands there twice; one parent is needed: keep one of the lines")
    return mapping
