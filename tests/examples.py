"""How many examples a property is tried on: few in `make test`, twenty times as many in `make thorough`.

Nothing here is timed: a deadline of an example, or a limit of drawing it, fails where the machine is busy.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

QUICK = 40
"""Examples of a property that does not say how many."""
THOROUGH = 20
"""How many times as many examples `make thorough` draws."""


def register_profiles() -> None:
    """Makes `quick` the profile; `--hypothesis-profile=thorough` asks for the other."""
    untimed: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("quick", max_examples=QUICK, **untimed)
    settings.register_profile("thorough", max_examples=QUICK * THOROUGH, **untimed)
    settings.load_profile("quick")


def examples(count: int, **more: Any) -> settings:
    """The settings of a property that `make test` tries on `count` examples.

    >>> examples(30).max_examples
    30
    """
    assert settings.default is not None
    return settings(max_examples=count * settings.default.max_examples // QUICK, **more)
