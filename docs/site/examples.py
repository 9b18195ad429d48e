"""Shows the examples of docstrings as code on the documentation site."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)>>> .*(?:\n *\S.*)*", re.MULTILINE)


class FencedExamples(griffe.Extension):
    """Sets a fence around each doctest, which Markdown would take for quotes and links."""

    def on_object(self, *, obj: griffe.Object, **options: Any) -> None:
        """Changes the docstring of one module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """The docstring with its doctests as blocks of code.

    >>> print(fenced("Adds one.\\n\\n>>> 1 + 1\\n2"))
    Adds one.
    <BLANKLINE>
    ```pycon
    >>> 1 + 1
    2
    ```
    """
    return _EXAMPLE.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", docstring)
