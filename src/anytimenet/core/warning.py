"""Warnings that point at the line of the program that called the package, however deep they arise."""

from __future__ import annotations

import sys
import warnings

_OWN = __name__.partition(".")[0]


def warn_caller(message: str) -> None:
    """Warns whoever called the package from outside it.

    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     warn_caller("the disk is nearly full")
    >>> str(told[0].message)
    'the disk is nearly full'
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _OWN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
