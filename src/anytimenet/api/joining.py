"""Several bundles as one: nets of growing cost that run one after the other."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anytimenet.api.arguments import check_type
from anytimenet.api.loading import load
from anytimenet.bundle import Bundle
from anytimenet.core.manifest import Manifest
from anytimenet.evaluation import format_count
from anytimenet.nets.eann import EANN

_CARRIED = ("data", "augmentation", "task", "masks")
"""What the joined bundle says of its training itself, where all members say the same."""


def join_bundles(bundles: Sequence[Bundle | Path | str]) -> Bundle:
    """One bundle whose stages are those of the first bundle, then those of the second, and so on: an EANN.

    Nothing is trained; the weights are copies. Validation accuracies are carried over, cost tables and chosen
    label levels are not. The provenance of each member is under "joined". Where all were trained on the same
    data, `evaluate` finds it; else name the data.

    Args:
        bundles: two or more, or the folders where they are, the cheapest first.

    Raises:
        BundleError: if a folder holds no bundle.
        ValueError: for fewer than two bundles, bundles with other classes, taxonomy or preprocessing than
            the first, or costs that do not grow from bundle to bundle.

    >>> from anytimenet import TrainConfig, create_net, fit
    >>> config = TrainConfig(epochs=1)
    >>> names = ("isresnext_tiny", "resnet_ann_tiny")
    >>> members = [fit(create_net(name, in_channels=1), "digits", config=config) for name in names]
    >>> join_bundles(members).num_stages
    6
    """
    if isinstance(bundles, Bundle | Path | str) or len(bundles) < 2:
        raise ValueError("joining needs a list of two bundles or more, the cheapest first")
    members = [load(item) if isinstance(item, Path | str) else item for item in bundles]
    for item in members:
        check_type(item, Bundle, "each bundle", "load(PATH)")
    manifests = [member.manifest for member in members]
    names = [
        _name(number, item, m) for number, (item, m) in enumerate(zip(bundles, manifests, strict=True), 1)
    ]
    for name, manifest in zip(names[1:], manifests[1:], strict=True):
        _check_same(names[0], manifests[0], name, manifest)
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
    )
    return Bundle(EANN([copy.deepcopy(member.net) for member in members]).eval(), joined)


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
    told = [manifest.provenance for manifest in manifests]
    shared = {
        key: told[0][key]
        for key in _CARRIED
        if key in told[0] and all(other.get(key) == told[0][key] for other in told[1:])
    }
    members = [
        {"net": manifest.net.name if manifest.net else None, "stages": manifest.num_stages, **provenance}
        for manifest, provenance in zip(manifests, told, strict=True)
    ]
    return {**shared, "joined": members}
