"""The planners of one model: one for each size of a batch, with one running slowdown."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from anytimenet.core.errors import BundleError, CostTableError
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.table_choice import file_name_of
from anytimenet.core.manifest.tables import check_table
from anytimenet.runtime.backends.backend import Backend
from anytimenet.runtime.model import Model
from anytimenet.runtime.paths import stages_reached
from anytimenet.runtime.planning.plan_table import PlanTable
from anytimenet.runtime.planning.planner import Planner
from anytimenet.runtime.planning.slowdown import Slowdown


class Planners:
    """What plans the runs of a model, by images in a batch.

    Args:
        model: with validated accuracies and a backend.
        table: latencies measured here with that backend; None if nobody measured.
        segments: those that may be planned.
        variant: of the planner; see `Planner`.

    Raises:
        CostTableError: if the table is of another net, or was measured with another backend or placement.
    """

    def __init__(
        self, model: Model, table: CostTable | None, segments: Iterable[tuple[int, int]], variant: str
    ) -> None:
        if table is not None:
            _check_measured(table, model)
        self.slowdown = Slowdown()
        self._model, self._table, self._variant = model, table, variant
        self._segments = frozenset(segments)
        self._made: dict[int, PlanTable] = {}

    def of(self, batch: int) -> PlanTable:
        """The planner for batches of that size, made when it is first asked for.

        Raises:
            CostTableError: if no latencies were measured on this machine, or none for such batches.
        """
        plans = self._made.get(batch)
        if plans is None:
            manifest = self._model.manifest
            planner = Planner(
                self._measured(),
                [record.val_accuracy for record in manifest.stages],
                segments=self._segments,
                variant=self._variant,
                batch=batch,
                chance=1 / max(len(manifest.class_names[0]), 1),
                counted=[record.macs for record in manifest.stages],
                slowdown=self.slowdown,
            )
            plans = self._made[batch] = PlanTable(planner)
        return plans

    def _measured(self) -> CostTable:
        if self._table is None:
            backend = self._model.backend
            place = backend.placement
            raise CostTableError(
                f"deadline_ms needs latencies measured on this machine for backend {backend.name!r}, "
                f"{place.threads} thread(s), {place.dtype} on {place.device}, and there are none: measure "
                f"them with `an.profile(bundle)` and backend={backend.name!r}, threads={place.threads}, or "
                "without PyTorch with `python -m anytimenet.runtime profile`; or give budget_macs or a stage"
            )
        return self._table


def usual_segments(backend: Backend) -> frozenset[tuple[int, int]]:
    """The steps and the segments from the input; where stages are left out, steps go over them."""
    steps = set(pairwise(stages_reached(backend.segments)))
    return frozenset(pair for pair in backend.segments if pair[0] == 0 or pair in steps)


def _check_measured(table: CostTable, model: Model) -> None:
    """Raises CostTableError unless the table can be one of this net on its backend."""
    try:
        check_table(table, model.manifest)
    except BundleError as error:
        raise CostTableError(str(error)) from error
    backend, place = model.backend, model.backend.placement
    told = (table.backend, table.device, table.threads, table.dtype)
    here = (backend.name, file_name_of(place.device), place.threads, place.dtype)
    if told != here:
        raise CostTableError(
            f"the cost table was measured with {_words(*told)}, and this net runs with {_words(*here)}: "
            "profile it as it runs"
        )


def _words(backend: str, device: str, threads: int, dtype: str) -> str:
    return f"backend {backend!r}, {threads} thread(s), {dtype} on {device}"
