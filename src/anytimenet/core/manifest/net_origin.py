"""Where a net comes from: what a bundle stores of it beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.fields import json_object, text, whole


@dataclass(frozen=True)
class NetOrigin:
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

    def __post_init__(self) -> None:
        text(self.name, "net.name")
        object.__setattr__(self, "arguments", json_object(self.arguments, "net.arguments"))
        whole(self.form, "net.form", 1)
        if self.keep is not None:
            for stage in self.keep:
                whole(stage, "net.keep", 1)
            if not self.keep or list(self.keep) != sorted(set(self.keep)):
                raise BundleError(f"net.keep must be increasing stages, not {list(self.keep)}")
