"""The models that are served, by name: each with its scheduler, and replaced without dropping a request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from anytimenet.core import checks
from anytimenet.runtime.model import Model
from anytimenet.serving.http.problems import Problem
from anytimenet.serving.model_server import ModelServer


class Resident:
    """A model that stays loaded, and what is told of it again and again.

    Args:
        name: by which clients ask for it.
        model: its manifest and backend.
        server: that runs it.
        source: the folder it came from.
    """

    def __init__(
        self,
        name: str,
        model: Model,
        server: ModelServer,
        *,
        source: Path | None = None,
    ) -> None:
        self.name = checks.words(name, "name")
        self.model, self.server, self.source = model, server, source
        self.manifest = model.manifest
        self.stages = model.manifest.num_stages
        self.best_accuracy = max(record.val_accuracy or 0.0 for record in self.manifest.stages)
        self.users = 0
        self.in_json = [
            [f'{{"label":{json.dumps(name)},"index":{at},"probability":' for at, name in enumerate(names)]
            for names in self.manifest.class_names
        ]
        """The beginning of what is told of each class, so that a thousand of them are told quickly."""

    @contextmanager
    def used(self) -> Iterator[None]:
        """While a request holds it, it is not closed."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1


class Residents:
    """The models by name; looked at and changed in the event loop alone.

    Args:
        models: one or more, of different names.

    Raises:
        ValueError: for none, or two of one name.
    """

    def __init__(self, models: Sequence[Resident]) -> None:
        self._by_name = {one.name: one for one in models}
        if not models:
            raise ValueError("models must hold one or more")
        if len(self._by_name) != len(models):
            raise ValueError("two models have one name: give each its own, NAME=FOLDER")

    def of(self, name: str | None) -> Resident:
        """The model of that name; without a name the only one.

        Raises:
            Problem: 404 for an unknown name, 400 where a name is needed.
        """
        if name is None and len(self._by_name) == 1:
            return next(iter(self._by_name.values()))
        if name is None:
            raise Problem(400, "bad_request", f"model must be named; there are {', '.join(self._by_name)}")
        if name not in self._by_name:
            raise Problem(404, "not_found", f"no model has that name; there are {', '.join(self._by_name)}")
        return self._by_name[name]

    def replace(self, model: Resident) -> Resident:
        """Puts another model in the place of the one of its name, which is given back for its end."""
        before, self._by_name[model.name] = self._by_name[model.name], model
        return before

    def __iter__(self) -> Iterator[Resident]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)
