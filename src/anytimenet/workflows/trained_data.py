"""What a bundle says of the data of its training, and how far it is followed.

A bundle may come from anywhere. What it says can choose among the data sets that have a name here and say how
they were split; it never says where this machine reads, writes or fetches, unless its user takes it at its
word.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from anytimenet.bundle import Bundle
from anytimenet.core.checks import shown
from anytimenet.core.errors import DataError
from anytimenet.data import DataOptions, names_a_path

OF_THIS_MACHINE = ("cache_dir", "data_root", "download")
"""Options of data that a bundle has no say in."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedOn:
    """The data of a bundle's training.

    Attributes:
        name: by which `load_data` finds it; None where it has no such name.
        options: with which it was split; None where no name finds it.
        fingerprint: of all of it; None where it is not told.
        trouble: why name and options cannot be used, in words; empty if they can, or nothing is told.
        several: whether the bundle is joined, of members that were trained on different data.
    """

    name: str | None = None
    options: DataOptions | None = None
    fingerprint: str | None = None
    trouble: str = ""
    several: bool = False

    @property
    def known(self) -> bool:
        """Whether name and options find the data again."""
        return self.name is not None and self.options is not None


def trained_on(provenance: Mapping[str, Any]) -> TrainedOn:
    """What a provenance says of data; what it says in another form than this version knows is `trouble`.

    >>> trained_on({"data": {"name": "digits", "options": {"seed": 3}}}).options.seed
    3
    >>> trained_on({"data": {"name": "digits", "options": {"magic": 3}}}).trouble
    "unknown options of data: 'magic'"
    """
    note = provenance.get("data")
    if note is None:
        return TrainedOn(several="joined" in provenance)
    if not isinstance(note, dict):
        return TrainedOn(trouble=f"its note of the data is {shown(note)}, no JSON object")
    fingerprint = note.get("fingerprint")
    fingerprint = fingerprint if isinstance(fingerprint, str) else None
    name, options = note.get("name"), note.get("options")
    if options is None:
        return TrainedOn(fingerprint=fingerprint)
    if not isinstance(name, str) or not name:
        return TrainedOn(fingerprint=fingerprint, trouble=f"the name of its data is {shown(name)}, no text")
    try:
        return TrainedOn(name, _options(options), fingerprint)
    except DataError as error:
        return TrainedOn(fingerprint=fingerprint, trouble=str(error))


def data_to_follow(bundle: Bundle, trust_paths: bool) -> TrainedOn:
    """The data of the training, where nobody named other data.

    Raises:
        DataError: if the bundle does not say what it is, says it in a form that this version does not know,
            or says a path and is not trusted with it.
    """
    data = trained_on(bundle.manifest.provenance)
    if data.trouble:
        raise DataError(
            f"what the bundle says of its training data cannot be used here ({data.trouble}); it may be of a "
            "newer anytimenet: name the data"
        )
    if data.several:
        raise DataError("this bundle is joined, and its members were trained on different data: name one")
    if not data.known:
        raise DataError("this bundle was trained on data that has no name: give the data to evaluate it on")
    if names_a_path(data.name or "") and not (trust_paths or bundle.fitted_here):
        raise DataError(
            f"the bundle says that it was trained on {data.name!r}, and a path that comes with a bundle is "
            f"not followed by itself: name the data, data={data.name!r}, or give trust_paths=True to follow "
            "what the bundle says"
        )
    return data


def _options(values: Any) -> DataOptions:
    """The options of a provenance, without those of this machine.

    Raises:
        DataError: for options that this version does not know, or values that it does not take.
    """
    if not isinstance(values, dict):
        raise DataError(f"the options of its data are {shown(values)}, no JSON object")
    ours = [name for name in OF_THIS_MACHINE if values.get(name)]
    if ours:
        _log.warning("the bundle's own %s is not followed: that is for this machine to say", ", ".join(ours))
    values = {name: value for name, value in values.items() if name not in OF_THIS_MACHINE}
    unknown = sorted(set(values) - {field.name for field in fields(DataOptions)})
    if unknown:
        raise DataError(f"unknown options of data: {', '.join(map(repr, unknown))}")
    taxonomy = values.get("taxonomy")
    if isinstance(taxonomy, str) and taxonomy not in ("own", "nested"):
        raise DataError(f"the taxonomy is a path, {shown(taxonomy)}, which is not opened for a bundle")
    try:
        return DataOptions(**values)
    except DataError:
        raise
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
        raise DataError(f"the options of its data have values that are none: {error}") from error
