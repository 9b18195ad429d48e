"""Several bundles as one: nets of growing cost that run one after the other."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from anytimenet.bundle import Bundle, load
from anytimenet.core.checks import instance, several
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.seen_images import seen_by_any
from anytimenet.data import same_data
from anytimenet.evaluation import format_count
from anytimenet.nets.members.eann import EANN
from anytimenet.workflows.trained_data import TrainedOn, trained_on

_CARRIED = ("augmentation", "task", "masks")
"""What the joined bundle says of its training itself, where all members say the same."""
_DRAWING = {
    "seed": "seed=...",
    "val_fraction": "val_fraction=...",
    "split_seed": "DataOptions(split_seed=...)",
    "test_fraction": "DataOptions(test_fraction=...)",
}
"""Options of data that decide which images validate, and where they are given."""
_FEWER = ("limit", "images_per_class")
"""Options of data that leave out training images alone."""


def join_bundles(bundles: Iterable[Bundle | Path | str]) -> Bundle:
    """One bundle whose stages are those of the first bundle, then those of the second, and so on: an EANN.

    Nothing is trained; the weights are copies. Validation accuracies are carried over, cost tables and chosen
    label levels are not. The provenance of each member is under "joined". Where all were trained on the same
    data, `evaluate` finds it; else name the data. Members of the same data must have the same validation
    images, too, for a run answers with the stage that was best on them: train all with one seed.

    Args:
        bundles: two or more, or the folders where they are, the cheapest first.

    Raises:
        BundleError: if a folder holds no bundle.
        TypeError: if one of them is neither a bundle nor a folder.
        ValueError: for fewer than two bundles, bundles with other classes, taxonomy, preprocessing or
            validation images of the same data than the first, or costs that do not grow from bundle to
            bundle.

    >>> from anytimenet import TrainConfig, create_net, fit
    >>> config = TrainConfig(epochs=1)
    >>> names = ("isresnext_tiny", "resnet_ann_tiny")
    >>> members = [fit(create_net(name, in_channels=1), "digits", config=config) for name in names]
    >>> join_bundles(members).num_stages
    6
    """
    listed = isinstance(bundles, Iterable) and not isinstance(bundles, Bundle | Path | str)
    bundles = several(bundles, "bundles") if listed else ()
    if len(bundles) < 2:
        raise ValueError("bundles must be a list of two bundles or more, the cheapest first")
    for item in bundles:
        instance(item, (Bundle, Path, str), "each of bundles", "load(PATH)")
    members = [load(item) if isinstance(item, Path | str) else item for item in bundles]
    manifests = [member.manifest for member in members]
    names = [
        _name(number, item, m) for number, (item, m) in enumerate(zip(bundles, manifests, strict=True), 1)
    ]
    trained = [
        (name, trained_on(manifest.provenance)) for name, manifest in zip(names, manifests, strict=True)
    ]
    for one, other in combinations(trained, 2):
        _check_drawn_alike(*one, *other)
    for name, manifest in zip(names[1:], manifests[1:], strict=True):
        _check_same(names[0], manifests[0], name, manifest)
    for one, other in combinations(trained, 2):
        _check_unchanged(*one, *other)
    _check_growing(names, manifests)
    records = [record for manifest in manifests for record in manifest.stages]
    joined = replace(
        manifests[0],
        net=None,  # the bundle fills it in
        # A stage is the same sub-network as in its member: costs and accuracies stay what they were.
        stages=tuple(replace(record, stage=stage) for stage, record in enumerate(records, 1)),
        provenance=_provenance(manifests),
        files={},
        level_selection=None,
        thresholds=None,
        structure=None,
        extensions={},
    )
    seen = seen_by_any([member.seen for member in members])
    bundle = Bundle(EANN([copy.deepcopy(member.net) for member in members]).eval(), joined, seen=seen)
    bundle.fitted_here = all(member.fitted_here for member in members)
    return bundle


def _name(number: int, item: Any, manifest: Manifest) -> str:
    """What a bundle is called in messages."""
    where = f", {item}" if isinstance(item, Path | str) else ""
    return f"bundle {number} ({manifest.net.name if manifest.net else 'a net built by hand'}{where})"


def _check_same(first_name: str, first: Manifest, name: str, other: Manifest) -> None:
    """Raises ValueError, with what differs, unless two bundles read and answer in the same form."""
    for what, one, another in (
        ("classes", first.class_names, other.class_names),
        ("taxonomy", first.taxonomy, other.taxonomy),
        ("mask classes", first.mask_classes, other.mask_classes),
    ):
        if one != another:
            raise ValueError(
                f"{name} has other {what} than {first_name}: join bundles that were trained on the same data"
            )
    ours, theirs = first.preprocessing.to_dict(), other.preprocessing.to_dict()
    different = [key for key in ours if ours[key] != theirs[key]]
    if different:
        key = different[0]
        raise ValueError(
            f"{name} and {first_name} prepare images differently ({', '.join(different)}; {key} is "
            f"{theirs[key]} and {ours[key]}): train them on the same data in the same form"
        )


def _check_drawn_alike(one_name: str, one: TrainedOn, name: str, other: TrainedOn) -> None:
    """Raises ValueError where two bundles of the same data set aside other validation images of it.

    Of different data nothing is known that could be compared.
    """
    if not _same_source(one, other) or _equal_images(one, other):
        return
    different = [key for key in _DRAWING if getattr(one.options, key) != getattr(other.options, key)]
    if different:
        before, said = (
            " and ".join(f"{key} {getattr(each.options, key)}" for key in different) for each in (one, other)
        )
        raise ValueError(
            f"{name} was trained with {said} and {one_name} with {before}, which set aside other validation "
            "images, and answers are chosen by them: train all members with one "
            f"{' and one '.join(_DRAWING[key] for key in different)}"
        )


def _check_unchanged(one_name: str, one: TrainedOn, name: str, other: TrainedOn) -> None:
    """Raises ValueError where data of one name, read in one way, gave two bundles other images."""
    known = one.fingerprint and other.fingerprint and not _equal_images(one, other)
    if known and _same_source(one, other) and one.options == other.options:
        raise ValueError(
            f"images or labels of {other.name} have changed between the trainings of {one_name} and "
            f"{name}, so that other images may have validated, and answers are chosen by them: train all "
            "members on the same images"
        )


def _check_growing(names: Sequence[str], manifests: Sequence[Manifest]) -> None:
    """Raises ValueError, with the costs, unless each whole net costs more than the one before it."""
    costs = [manifest.stages[-1].macs for manifest in manifests]
    for place in range(1, len(costs)):
        if costs[place] <= costs[place - 1]:
            shown = ", ".join(f"{n} {format_count(c)}" for n, c in zip(names, costs, strict=True))
            raise ValueError(
                f"the costs do not grow from bundle to bundle: {shown} multiply-adds; give the cheapest "
                "first, and no two of equal cost"
            )


def _provenance(manifests: Sequence[Manifest]) -> dict[str, Any]:
    notes = [manifest.provenance for manifest in manifests]
    data = _shared_data(manifests)
    shared = {} if data is None else {"data": data}
    shared |= {
        key: notes[0][key]
        for key in _CARRIED
        if key in notes[0] and all(_fields(other.get(key)) == _fields(notes[0][key]) for other in notes[1:])
    }
    members = [
        {"net": manifest.net.name if manifest.net else None, "stages": manifest.num_stages, **provenance}
        for manifest, provenance in zip(manifests, notes, strict=True)
    ]
    return {**shared, "joined": members}


def _fields(note: Any) -> Any:
    """A note without the class that it is of, which bundles of older versions leave out."""
    return {k: v for k, v in note.items() if k != "class"} if isinstance(note, dict) else note


def _shared_data(manifests: Sequence[Manifest]) -> dict[str, Any] | None:
    """How the images that all members were trained and validated on are found again; None for other ones."""
    data = [trained_on(manifest.provenance) for manifest in manifests]
    notes = [manifest.provenance.get("data") for manifest in manifests]
    first = data[0]
    if isinstance(notes[0], dict) and all(
        note == notes[0] or _equal_images(first, each) for note, each in zip(notes, data, strict=True)
    ):
        return next((note for note, each in zip(notes, data, strict=True) if each.known), notes[0])
    if not isinstance(notes[0], dict) or not all(_same_source(first, each) for each in data):
        return None
    # The same validation images. Where some members saw a part of the training images, all are named.
    options = dict(notes[0]["options"])
    for key in _FEWER:
        if any(getattr(each.options, key) != getattr(first.options, key) for each in data):
            options[key] = None
    return {**notes[0], "fingerprint": None, "options": options}


def _same_source(one: TrainedOn, other: TrainedOn) -> bool:
    """Whether both were trained on data of the same name."""
    return one.known and other.known and same_data(one.name or "", other.name or "")


def _equal_images(one: TrainedOn, other: TrainedOn) -> bool:
    """Whether classes, preprocessing and all images of all parts were the same."""
    return one.fingerprint is not None and one.fingerprint == other.fingerprint
