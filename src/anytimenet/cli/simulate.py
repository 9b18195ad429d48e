"""`anytimenet simulate FOLDER`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anytimenet.cli.output import emit

if TYPE_CHECKING:
    from anytimenet.core.manifest.cost_table import CostTable
    from anytimenet.core.manifest.manifest import Manifest
    from anytimenet.serving.simulation.report import Report
    from anytimenet.serving.simulation.simulator import Site

_RATES = (("0.5 full", 0.5), ("1.5 full", 1.5), ("0.5 C1", 0.5), ("0.8 C1", 0.8), ("1.5 C1", 1.5))
_DEADLINE = 5.0
_SECONDS, _USUAL_REQUESTS = 20.0, 10_000
_MOST_REQUESTS = 2_000_000


@dataclass(frozen=True)
class Simulate:
    """What a server of a net would do under load, on a virtual clock: the latencies are of its cost table.

    Without --rate-hz it tries 0.5 and 1.5 times what the full net can serve, and 0.5, 0.8 and 1.5 times what
    stage 1 can (C1). With --in-time it finds the fewest replicas that keep that promise.
    JSON: {costs, deadline_ms, replicas, reports: [{policy, offered, rate, in_time, late, refused, expired,
    useful_goodput, accuracy, p50_ms, p99_ms, utilisation, stages}]}.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Of a bundle, of the run that made it, or of an exported net; profiled."""
    rate_hz: float | None = None
    """Requests a second."""
    deadline_ms: float | None = None
    """Time that each request allows; by default five times the full net's."""
    load: Literal["poisson", "bursts", "diurnal"] = "poisson"
    """How requests come."""
    seconds: float | None = None
    """Of the load; by default 20, or fewer where that would be more than 10,000 requests."""
    policies: tuple[str, ...] = ("anytime", "slackfit", "stage_1", "full_or_refuse")
    """To compare; with --in-time the first one counts."""
    workers: int = 1
    """Engine threads of a replica."""
    replicas: int = 1
    """Servers."""
    in_time: float | None = None
    """Share of the requests to answer by their deadlines: finds the fewest replicas."""
    accuracy: float | None = None
    """Validated accuracy that those answers should have as well."""
    costs: Annotated[str | None, tyro.conf.arg(metavar="KEY")] = None
    """Which of several cost tables; the message names them."""
    seed: int = 0
    """Of the load."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""

    def run(self) -> None:
        """Simulates and prints."""
        from anytimenet.core import checks
        from anytimenet.serving.scheduling.costs import Costs
        from anytimenet.serving.scheduling.policies.known import policy_named

        checks.optional(self.accuracy, "accuracy", checks.fraction)
        seed = checks.whole_number(self.seed, "seed")
        given_s = checks.optional(self.seconds, "seconds", checks.number, above=0)
        if not self.policies:
            raise ValueError("policies: at least one is needed")
        for policy in self.policies:
            policy_named(policy)
        manifest, tables = _read(self.folder)
        table = _chosen(tables, self.costs)
        sites = [self._site(table, manifest, policy) for policy in self.policies]
        costs = Costs(table, sites[0].validated)
        full_s, first_s = costs.seconds(0, costs.best), costs.seconds(0, costs.stages[0])
        given_ms = checks.optional(self.deadline_ms, "deadline_ms", checks.number, above=0)
        deadline_ms = 1000 * _DEADLINE * full_s if given_ms is None else given_ms
        rates = self._rates(full_s, first_s)
        most_hz = max(rate for _, rate in rates)
        seconds = min(_SECONDS, _USUAL_REQUESTS / most_hz) if given_s is None else given_s
        if most_hz * seconds > _MOST_REQUESTS:
            raise ValueError(
                f"rate_hz and seconds ask for more than {_MOST_REQUESTS} requests: simulate fewer"
            )
        if self.in_time is not None:
            replicas, reports = self._planned(sites[0], rates[0][1], seconds, deadline_ms, seed)
        else:
            replicas, reports = self.replicas, self._compared(sites, rates, seconds, deadline_ms, seed)
        result = {
            "costs": table.key,
            "deadline_ms": deadline_ms,
            "replicas": replicas,
            "reports": [asdict(report) for report in reports],
        }
        if emit(self.json, result):
            print(f"costs {table.key}; {deadline_ms:.3g} ms for each request; {replicas} replica(s)")
            print_reports(reports)

    def _site(self, table: CostTable, manifest: Manifest, policy: str) -> Site:
        from anytimenet.core.errors import BundleError
        from anytimenet.serving.simulation.simulator import Site

        validated = [record.val_accuracy for record in manifest.stages]
        if any(accuracy is None for accuracy in validated):
            raise BundleError("the stages of this net were not validated: anytimenet evaluate does it")
        return Site(table, validated, policy, self.workers, self.replicas)

    def _rates(self, full_s: float, first_s: float) -> list[tuple[str, float]]:
        from anytimenet.core import checks

        if self.rate_hz is not None:
            return [("", checks.number(self.rate_hz, "rate_hz", above=0))]
        if self.in_time is not None:
            raise ValueError("replicas are planned for a rate: give rate_hz with in_time")
        one = self.workers * self.replicas
        return [
            (name, share * one / (full_s if name.endswith("full") else first_s)) for name, share in _RATES
        ]

    def _compared(
        self, sites: list[Site], rates: list[tuple[str, float]], seconds: float, deadline_ms: float, seed: int
    ) -> list[Report]:
        from anytimenet.serving.simulation.load import LOADS
        from anytimenet.serving.simulation.simulator import simulate

        found = []
        for _, rate in rates:
            times = LOADS[self.load](rate, seconds, seed)
            found += [simulate(site, times, deadline_ms / 1000, seed=seed) for site in sites]
        return found

    def _planned(
        self, site: Site, rate: float, seconds: float, deadline_ms: float, seed: int
    ) -> tuple[int, list[Report]]:
        from anytimenet.serving.simulation.load import LOADS
        from anytimenet.serving.simulation.planning import Objective, replicas_for

        objective = Objective(1.0 if self.in_time is None else self.in_time, self.accuracy)
        times = LOADS[self.load](rate, seconds, seed)
        replicas, report = replicas_for(site, times, deadline_ms / 1000, objective, seed=seed)
        return replicas, [report]


def print_reports(reports: list[Report]) -> None:
    """A line each, for people."""
    print(
        "requests/s  policy          right in time %  in time %  refused %  accuracy %  p50 ms  p99 ms  stage"
    )
    for found in reports:
        stages = " ".join(f"{stage}:{count}" for stage, count in found.stages.items())
        print(
            f"{found.rate:10.4g}  {found.policy:14}  {100 * found.useful_goodput:15.1f}  "
            f"{100 * found.in_time:9.1f}  {100 * (found.refused + found.expired):9.1f}  "
            f"{100 * found.accuracy:10.1f}  {found.p50_ms:6.2f}  {found.p99_ms:6.2f}  {stages}"
        )


def _read(folder: Path) -> tuple[Manifest, Mapping[str, CostTable]]:
    """What is known of the net, and its cost tables; no PyTorch."""
    from anytimenet.core import checks
    from anytimenet.core.manifest.folder import find_bundle
    from anytimenet.core.manifest.manifest import Manifest
    from anytimenet.core.manifest.tables import readable_tables
    from anytimenet.runtime.exported.net import ExportedNet
    from anytimenet.runtime.exported.record import EXPORT_NAME

    folder = checks.path(folder, "folder")
    if (folder / EXPORT_NAME).is_file():
        net = ExportedNet.load(folder)
        return net.manifest, net.cost_tables
    place = find_bundle(folder)
    manifest = Manifest.read(place)
    return manifest, readable_tables(place, manifest)


def _chosen(tables: Mapping[str, CostTable], key: str | None) -> CostTable:
    from anytimenet.core.errors import CostTableError, suggest

    if not tables:
        raise CostTableError("no latencies were measured of this net: anytimenet profile FOLDER does it")
    if key is None:
        if len(tables) > 1:
            raise CostTableError(f"which of its cost tables? costs is one of {', '.join(sorted(tables))}")
        return next(iter(tables.values()))
    if key not in tables:
        raise CostTableError(f"costs {key!r} is none of its tables: {suggest(key, tables)}")
    return tables[key]
