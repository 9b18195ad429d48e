"""The format of `bundle.json`: its versions, what earlier ones did not say, and the digest over all of it."""

from __future__ import annotations

import json
from typing import Any

from anytimenet.core import checks
from anytimenet.core.errors import BundleError
from anytimenet.core.files.writing import sha256
from anytimenet.core.manifest.folder import AGAIN, FORMAT

FORMAT_VERSION = 3
"""What this package writes, and the newest that it reads.

Since 2 a bundle may tell of its coarser label levels; since 3 it tells its task, score and input, the form of
its net, thresholds, and how a net built by hand is recognised.
"""
_ABOUT_ITSELF = ("format", "format_version", "digest")
_SINCE_3: dict[str, Any] = {
    **dict.fromkeys(("structure", "task", "score", "input", "thresholds")),
    "extensions": {},
}


def stamped(value: dict[str, Any]) -> dict[str, Any]:
    """The object of a file, with its format and its digest."""
    written = {"format": FORMAT, "format_version": FORMAT_VERSION, **value}
    plain = json.loads(json.dumps(written, allow_nan=False))
    return {**plain, "digest": digest_of(plain)}


def checked(values: Any) -> tuple[dict[str, Any], int]:
    """What `stamped` was given, as the newest version has it, and the version that was written.

    Raises:
        BundleError: for another format, a newer version, or what was changed since.
    """
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BundleError(f'not written by anytimenet ("format" is not "{FORMAT}"); give another folder')
    with checks.raised_as(BundleError, kinds_too=True):
        version = checks.whole_number(values.get("format_version"), "format_version", 1)
    if version > FORMAT_VERSION:
        raise BundleError(
            f"format version {version} was made by a newer anytimenet, this one reads up to "
            f"{FORMAT_VERSION}: upgrade anytimenet"
        )
    if values.get("digest") != digest_of(values):
        raise BundleError(f"its digest does not match: it was changed or damaged; {AGAIN}")
    value = {key: item for key, item in values.items() if key not in _ABOUT_ITSELF}
    return (value if version == FORMAT_VERSION else _as_of_3(value)), version


def digest_of(value: dict[str, Any]) -> str:
    """SHA-256 of the object without its digest: keys sorted, no spaces, ASCII."""
    rest = {key: item for key, item in value.items() if key != "digest"}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())


def _as_of_3(value: dict[str, Any]) -> dict[str, Any]:
    """What an earlier version wrote, as version 3 does."""
    later = sorted(set(value) & _SINCE_3.keys())
    if later:
        raise BundleError(f"the object has wrong fields (missing: [], unknown: {later}); {AGAIN}")
    if isinstance(value.get("net"), dict):
        value["net"] = {"form": 1, **value["net"]}
    return {"level_selection": None, **_SINCE_3, **value}
