"""The flags that every verb has which evaluates a bundle: which images, and how they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from anytimenet.cli.derived import Derived, derived

if TYPE_CHECKING:
    ReadingFlags: TypeAlias = Derived
else:
    ReadingFlags = derived("Which images, and how they are read.", "Reading", default="")


def reading_arguments(flags: Derived) -> dict[str, Any]:
    """The fields of `workflows.Reading` but the bundle; processes are used as far as there are cores."""
    return {"workers": None, **flags.given()}
