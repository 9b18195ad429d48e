"""Names of a package that are imported when they are first used, as its `__init__.pyi` lists them.

The stub is the one list: type checkers read it as it is, and the package looks there for what it exports. So
a package with many names is imported in no time, and needs nothing that its user does not ask for.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import Any


@cache
def homes_of(init: str) -> dict[str, str]:
    """The module of each name in the stub beside a package's `__init__.py`, sorted by name.

    >>> import anytimenet
    >>> homes_of(anytimenet.__file__)["Taxonomy"]
    'anytimenet.core.labels.taxonomy'
    """
    stub = ast.parse(Path(init).with_suffix(".pyi").read_text(encoding="utf-8"))
    homes = {
        alias.name: node.module or ""
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return dict(sorted(homes.items()))


def lazily(package: str, init: str, name: str) -> Any:
    """What `package` has under `name`; the rest of a `__getattr__`.

    Raises:
        AttributeError: if it has none such.
        MissingExtraError: if an optional dependency of it is not installed.
    """
    home = homes_of(init).get(name)
    if home is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "anytimenet":
            raise
        from anytimenet.core.errors import MissingExtraError, how_to_install

        raise MissingExtraError(
            f"{package}.{name} needs {error.name}, which is not installed: {how_to_install('train')}"
        ) from error
