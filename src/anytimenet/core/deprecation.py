"""Names that go away: kept for two minor versions, with a warning that names what to use instead."""

from __future__ import annotations

import warnings


def deprecated(name: str, *, since: str, removed_in: str, instead: str, stacklevel: int = 1) -> None:
    """Warns whoever calls the function that calls this one, at the line of that call.

    Args:
        name: what is deprecated, as people write it.
        since: the first version that warns.
        removed_in: the version in which it is gone; a test fails once that version is reached.
        instead: what to use.
        stacklevel: how many calls lie between the deprecated thing and this function; 1 where it calls it
            directly.

    Warns:
        DeprecationWarning: always.

    >>> def area_under(curve):
    ...     deprecated("area_under", since="0.2.0", removed_in="0.4.0", instead="Curve.area")
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     area_under(None)
    >>> str(told[0].message)
    'area_under is deprecated since 0.2.0 and will be gone in 0.4.0: use Curve.area'
    """
    message = f"{name} is deprecated since {since} and will be gone in {removed_in}: use {instead}"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel + 2)
