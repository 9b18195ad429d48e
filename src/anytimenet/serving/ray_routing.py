"""Ray Serve's router, by slack: a request goes where its first answer would be ready soonest."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ray.serve.request_router import RequestRouter

from anytimenet.serving.slack import by_slack

_UNKNOWN_S = 0.001
"""Of a replica that has not told how long its first stage takes."""


class SlackRouter(RequestRouter):  # type: ignore[misc]  # Ray carries no types
    """Requests under way at each replica, counted here, times what a first answer takes there.

    What replicas tell is up to half a second old; what was sent since is counted by the router itself, so
    that news of a free replica does not send everybody there.
    """

    def initialize_state(self, **_: Any) -> None:
        """Called by Ray once."""
        self._under_way: Counter[str] = Counter()

    async def choose_replicas(
        self, candidate_replicas: list[Any], pending_request: Any = None
    ) -> list[list[Any]]:
        """The replicas in ranks of one, best first."""
        candidates = {_name(one.replica_id): one for one in candidate_replicas}
        work_s = {name: one.routing_stats.get("first_s", _UNKNOWN_S) for name, one in candidates.items()}
        return [[candidates[name]] for name in by_slack(work_s, self._under_way)]

    def on_request_routed(self, pending_request: Any, replica_id: Any, result: Any) -> None:
        """Called by Ray when a request was sent."""
        self._under_way[_name(replica_id)] += 1

    def on_request_completed(self, replica_id: Any, internal_request_id: str) -> None:
        """Called by Ray when it was answered, or failed."""
        name = _name(replica_id)
        self._under_way[name] -= 1
        if self._under_way[name] <= 0:
            del self._under_way[name]


def _name(replica_id: Any) -> str:
    return str(replica_id.unique_id)
