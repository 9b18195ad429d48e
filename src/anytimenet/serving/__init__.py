"""A server that sheds accuracy before it sheds requests; needs no PyTorch."""

from __future__ import annotations

from typing import Any

from anytimenet.core.lazy_names import homes_of, lazily

__all__ = list(homes_of(__file__))


def __getattr__(name: str) -> Any:
    return lazily(__name__, __file__, name)


def __dir__() -> list[str]:
    return __all__
