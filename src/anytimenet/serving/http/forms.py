"""Forms with files (multipart/form-data), read in memory: the body is bounded already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anytimenet.core.errors import require
from anytimenet.serving.http.problems import Problem, bad_request

_MOST_FIELDS = 32
_MOST_HEADER = 4096
_MOST_VALUE = 2000


def read_form(body: bytes, content_type: str, most_images: int) -> tuple[list[tuple[str, str]], list[bytes]]:
    """The fields of a form, and the contents of its files in order.

    A part is an image if it has a file name, a type `image/...`, or the name image, images or file.

    Raises:
        Problem: 400 for a form that is none or that ends too early, 413 for too many parts.
    """
    multipart = require("python_multipart.multipart", "serve")
    kind, options = multipart.parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary or len(boundary) > 200:
        raise bad_request("the content-type of a form names its boundary: multipart/form-data; boundary=...")
    form = _Form(multipart.parse_options_header, most_images)
    try:
        parser = multipart.MultipartParser(boundary, form.callbacks)
        parser.write(body)
        parser.finalize()
    except ValueError:
        raise bad_request("the form cannot be read: its parts do not follow its boundary") from None
    if not form.ended:
        raise bad_request("the form ends before its last boundary")
    return form.fields, form.images


class _Form:
    """What the parser tells, part by part."""

    def __init__(self, options_of: Callable[[Any], tuple[bytes, dict[bytes, bytes]]], most: int) -> None:
        self.fields: list[tuple[str, str]] = []
        self.images: list[bytes] = []
        self.ended = False
        self._options_of, self._most = options_of, most
        self._name, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._data: list[bytes] = []

    @property
    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._take_name,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_part_data": self._take_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers, self._data = {}, []

    def _take_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._bound(self._name)

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._bound(self._value)

    def _bound(self, text: bytes) -> None:
        if len(text) > _MOST_HEADER or len(self._headers) > _MOST_FIELDS:
            raise Problem(413, "too_large", "a part of the form has too long headers")

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _end_part(self) -> None:
        _, options = self._options_of(self._headers.get(b"content-disposition", b""))
        name, content = options.get(b"name", b""), b"".join(self._data)
        kind = self._headers.get(b"content-type", b"").lower()
        if b"filename" in options or kind.startswith(b"image/") or name in (b"image", b"images", b"file"):
            if len(self.images) == self._most:
                raise Problem(413, "too_large", f"a request may have {self._most} images at most")
            self.images.append(content)
            return
        if len(self.fields) == _MOST_FIELDS or len(content) > _MOST_VALUE:
            raise Problem(413, "too_large", "the form has too many fields, or too long ones")
        try:
            self.fields.append((name.decode("utf-8"), content.decode("utf-8")))
        except UnicodeDecodeError:
            raise bad_request("a field of the form is no text in UTF-8") from None

    def _end(self) -> None:
        self.ended = True
