"""What a session runs: anything with a manifest and a backend, such as a bundle or an exported folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from anytimenet.core.manifest.manifest import Manifest
from anytimenet.runtime.backends.backend import Backend


class Model(Protocol):
    """What sessions and predictors read."""

    @property
    def manifest(self) -> Manifest:
        """Class names, preprocessing, validated accuracies and thresholds."""

    @property
    def backend(self) -> Backend:
        """What runs the segments."""


@dataclass(frozen=True, eq=False)
class PreparedModel:
    """A manifest and the backend that runs its net.

    Attributes:
        manifest: what is known of the net.
        backend: what runs its segments.
    """

    manifest: Manifest
    backend: Backend
