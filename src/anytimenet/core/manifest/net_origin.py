"""Where a net comes from: what a bundle stores of it beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anytimenet.core.checks import (
    json_values,
    optional,
    raised_as,
    settle,
    whole_number,
    whole_numbers,
    words,
)
from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.folder import IN_BUNDLE
from anytimenet.core.records import Record


@dataclass(frozen=True)
class NetOrigin(Record):
    """How to build the net again.

    Attributes:
        name: the registered name.
        arguments: of its builder, as JSON values.
        keep: the stages that were kept of it; None for all.
        form: the number of the structure that the name stood for; what tells none was saved in form 1.

    Raises:
        BundleError: for a value that cannot be.
    """

    name: str
    arguments: dict[str, Any]
    keep: tuple[int, ...] | None = None
    form: int = 1
    json_form = IN_BUNDLE

    def __post_init__(self) -> None:
        with raised_as(BundleError, kinds_too=True):
            settle(self, "name", words)
            settle(self, "arguments", json_values)
            settle(self, "form", whole_number, 1)
            settle(self, "keep", optional, whole_numbers, 1)
        if self.keep is not None and (not self.keep or list(self.keep) != sorted(set(self.keep))):
            raise BundleError(f"keep must be increasing stages, not {list(self.keep)}")
