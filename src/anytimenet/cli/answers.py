"""Answers of many images as `predict` prints them: each when it is there, and bad images by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anytimenet.cli.output import emit_json, print_error
from anytimenet.core.errors import DataError
from anytimenet.core.images.sources import image_paths, names_many


def named_images(given: Sequence[Path]) -> tuple[list[str], bool]:
    """The image files that the arguments name, folders and patterns searched; and whether any was searched.

    Raises:
        DataError: for a folder or pattern without images.
    """
    searched = [names_many(str(path)) for path in given]
    images = [
        image_paths(str(path)) if many else [str(path)] for path, many in zip(given, searched, strict=True)
    ]
    return [path for paths in images for path in paths], any(searched)


class AnswerPrinter:
    """Prints answers one by one.

    Args:
        json: "-" prints a JSON object a line, a file's name keeps them for `finish` to write beside the lines
            for people, None prints the latter alone.
        skip_bad: bad images are left out and do not fail the command.
    """

    def __init__(self, json: str | None, *, skip_bad: bool) -> None:
        self._json, self._skip_bad = json, skip_bad
        self._records: list[dict[str, Any]] = []
        self._good = self._bad = 0

    def answer(self, record: dict[str, Any], line: str) -> None:
        """One answer: its JSON object, and the line for people."""
        self._good += 1
        self._tell(record, line)

    def bad(self, source: str, error: str) -> None:
        """One image that has no answer: named on standard error, and in the JSON in its place."""
        self._bad += 1
        more = "; it is left out" if self._skip_bad else ""
        print_error((error if source in error else f"{source}: {error}") + more)
        if not self._skip_bad:
            self._tell({"image": source, "error": error}, None)

    def finish(self) -> None:
        """Writes the file of JSON lines; raises DataError if an image was bad, unless those are left out."""
        if self._json is not None and self._json != "-":
            emit_json(self._records, self._json)
        if self._bad and not self._skip_bad:
            raise DataError(
                f"{self._bad} of {self._bad + self._good} images could not be predicted: remove or replace "
                "them, or leave them out with --skip-bad"
            )

    def _tell(self, record: dict[str, Any], line: str | None) -> None:
        if self._json == "-":
            emit_json([record], "-")
        elif line is not None:
            print(line, flush=True)
        if self._json not in (None, "-"):
            self._records.append(record)
