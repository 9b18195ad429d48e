"""The policies by name."""

from __future__ import annotations

from collections.abc import Callable

from anytimenet.core.errors import suggest
from anytimenet.serving.scheduling.policies.anytime import Anytime
from anytimenet.serving.scheduling.policies.edgeserving import EdgeServing
from anytimenet.serving.scheduling.policies.fixed import FixedStage
from anytimenet.serving.scheduling.policies.policy import Policy
from anytimenet.serving.scheduling.policies.slackfit import SlackFit

_POLICIES: dict[str, Callable[[], Policy]] = {
    "anytime": Anytime,
    "full": lambda: FixedStage(full=True, refuse=False),
    "full_or_refuse": lambda: FixedStage(full=True, refuse=True),
    "stage_1": lambda: FixedStage(full=False, refuse=False),
    "slackfit": SlackFit,
    "edgeserving": EdgeServing,
}


def known_policies() -> tuple[str, ...]:
    """Their names."""
    return tuple(_POLICIES)


def policy_named(name: str) -> Policy:
    """A new policy.

    Raises:
        ValueError: for an unknown name.

    >>> known_policies()[0]
    'anytime'
    """
    if name not in _POLICIES:
        raise ValueError(f"policy {name!r} is not known: {suggest(str(name), _POLICIES)}")
    return _POLICIES[name]()
