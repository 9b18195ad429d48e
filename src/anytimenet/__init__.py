"""Anytime neural prediction: train one network, answer within any budget.

The names in `__init__.pyi` are resolved when they are used, so that `import anytimenet` needs neither torch
nor time.
"""

from __future__ import annotations

from typing import Any

from anytimenet.core.lazy_names import homes_of, lazily
from anytimenet.core.version import __version__ as __version__

__all__ = list(homes_of(__file__))


def __getattr__(name: str) -> Any:
    return lazily(__name__, __file__, name)


def __dir__() -> list[str]:
    return __all__
