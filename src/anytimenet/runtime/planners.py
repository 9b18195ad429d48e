"""The planners of one model: one for each size of a batch, with one running slowdown."""

from __future__ import annotations

from collections.abc import Iterable

from anytimenet.core.errors import CostTableError
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.runtime.model import Model
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
    """

    def __init__(
        self, model: Model, table: CostTable | None, segments: Iterable[tuple[int, int]], variant: str
    ) -> None:
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
