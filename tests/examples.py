"""How many examples a property is tried on: few in `make test`, twenty times as many in `make thorough`.

Nothing here is timed: a deadline of an example fails where the machine is busy.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings

THOROUGH = 20
"""How many times as many examples `make thorough` draws."""


def register_profiles() -> None:
    """Makes `quick` the profile; `--hypothesis-profile=thorough` asks for the other."""
    settings.register_profile("quick", deadline=None, max_examples=40)
    settings.register_profile("thorough", deadline=None, max_examples=40 * THOROUGH)
    settings.load_profile("quick")


def examples(count: int, **more: Any) -> settings:
    """The settings of a property that `make test` tries on `count` examples.

    >>> examples(30).max_examples
    30
    """
    factor = THOROUGH if settings.get_current_profile_name() == "thorough" else 1
    return settings(max_examples=count * factor, deadline=None, **more)
