"""Records and JSON: one codec by the declared types of fields; in one file, for reading mirrors writing.

A record is a dataclass whose fields are text, flags, whole numbers from 0 on, finite numbers, literals, other
records, tuples, lists and mappings of those, JSON values of any kind (`Any`), and None where it is allowed.
What is read from a file is checked field by field, and what is wrong with it is told with its place in the
file, such as `stages[0].macs`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from anytimenet.core.checks import choice, flag, instance, number, path, shown, whole_number
from anytimenet.core.errors import suggest

Made = TypeVar("Made")


@dataclass(frozen=True)
class JsonForm:
    """How a record is written, and what is raised where a JSON value is none.

    Attributes:
        error: what a refusal raises, whatever is wrong.
        what: what a refusal calls the record, such as "a taxonomy".
        cure: what to do about it; the end of each refusal.
        keys: the fields and properties that are written, in this order; all fields by default.
        strict: whether a key that no field has is refused; else it is passed over.
        defaults: whether a key may be left out where the field has a default: of what people write.
    """

    error: type[ValueError] = ValueError
    what: str = ""
    cure: str = ""
    keys: tuple[str, ...] = ()
    strict: bool = False
    defaults: bool = False


class Record:
    """Base of dataclasses that are stored as JSON objects.

    >>> @dataclass(frozen=True)
    ... class Stage(Record):
    ...     number: int
    ...     shares: tuple[float, ...] = ()
    ...     json_form = JsonForm(what="a stage", strict=True)
    >>> Stage(1, (0.5, 0.25)).to_dict()
    {'number': 1, 'shares': [0.5, 0.25]}
    >>> Stage.from_dict({"number": 1, "shares": [0.5, "x"]})
    Traceback (most recent call last):
    ValueError: not a description of a stage: shares[1] must be a number, not 'x'
    """

    json_form: ClassVar[JsonForm] = JsonForm()

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values; `from_dict` reads them."""
        return _written(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> typing.Self:
        """The inverse of `to_dict`.

        Raises:
            TypeError: for what is no mapping.
            ValueError: the error of `json_form`, for values that are no such record; it names what is wrong.
        """
        return from_json(cls, instance(values, Mapping, "values", "what to_dict returns"))

    @classmethod
    def _as_read(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The object of a file as this version writes it: what earlier ones did not write is added here."""
        return values


@dataclass(frozen=True)
class _Stored:
    key: str | None
    later: bool
    brief: bool
    here: bool
    inline: bool
    write: Callable[[Any], Any] | None
    read: Callable[[Any], Any] | None


def stored(
    *,
    key: str | None = None,
    later: bool = False,
    brief: bool = False,
    here: bool = False,
    inline: bool = False,
    write: Callable[[Any], Any] | None = None,
    read: Callable[[Any], Any] | None = None,
) -> dict[str, Any]:
    """Metadata of a field that is not stored under its name, always, and as its type says.

    Args:
        key: its name in the file.
        later: a file may lack it, as it came later than others; the default stands for it then.
        brief: the same, and it is not written either where it is the default.
        here: the same, and it is never written, for it is of this machine or run alone.
        inline: of a mapping or a record, whose entries stand in the object itself; a mapping reads what no
            other field has.
        write: makes the JSON value.
        read: makes the field of the JSON value; ValueError and TypeError are told with the field's place.
    """
    return {"stored": _Stored(key, later or brief or here, brief, here, inline, write, read)}


def as_json(value: Any) -> Any:
    """The JSON value of a record, or of lists and mappings of records.

    >>> as_json({"sizes": (1, 2)})
    {'sizes': [1, 2]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return _written(value)
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    return value


def from_json(kind: type[Made], value: Any, where: str = "") -> Made:
    """The record of class `kind` that `as_json` gave `value` for.

    Args:
        kind: a dataclass; its `json_form`, if it has one, says what is raised.
        where: the place of the value in its file, which errors name.

    Raises:
        ValueError: the error of `json_form`, for any other value.
    """
    form = _form_of(kind)
    try:
        return _record(kind, value, where)
    except _RefusedError as error:
        about = f"not a description of {form.what}: " if form.what else ""
        own = isinstance(error.__cause__, form.error) and form.error is not ValueError  # says its own cure
        cure = f"; {form.cure}" if form.cure and not own else ""
        raise form.error(f"{about}{error}{cure}") from error.__cause__


class _RefusedError(ValueError):
    """What is wrong, with its place."""


def _written(record: Any) -> dict[str, Any]:
    form, told = _form_of(type(record)), {field.name: field for field in fields(record)}
    found: dict[str, Any] = {}
    for name in form.keys or told:
        value, how = getattr(record, name), _how(told.get(name))
        if how.here or (how.brief and value == told[name].default):
            continue
        if how.inline:
            found |= as_json(value)
            continue
        found[how.key or name] = as_json(value) if how.write is None else how.write(value)
    return found


def _record(kind: type[Made], value: Any, where: str) -> Made:
    form, declared = _form_of(kind), _declared(kind)  # type: ignore[arg-type]
    told = [field for field in fields(kind) if field.init]  # type: ignore[arg-type]
    values = _object(value, where)
    if issubclass(kind, Record):
        with _placed(where):
            values = kind._as_read(values)
    keys = {_how(field).key or field.name: field for field in told if not _how(field).inline}
    _check_keys(form, {key: _may_lack(field, form) for key, field in keys.items()}, declared, values, where)
    given = {
        field.name: _field(field, declared[field.name], values[key], f"{where}.{key}" if where else key)
        for key, field in keys.items()
        if key in values
    }
    rest = {key: item for key, item in values.items() if key not in keys}
    for name in (field.name for field in told if _how(field).inline):
        given[name] = _value(declared[name], values if is_dataclass(declared[name]) else rest, where)
    with _placed(where):
        return kind(**given)


def _check_keys(
    form: JsonForm, keys: dict[str, bool], declared: dict[str, Any], values: dict[str, Any], where: str
) -> None:
    """Refuses an object that lacks a key; of a strict form also one with a key that is none."""
    needed = [key for key, later in keys.items() if not later]
    if form.strict:
        needed += [key for key in form.keys if key not in declared]  # those of properties
    missing, unknown = [key for key in needed if key not in values], set(values) - set(needed) - set(keys)
    if form.strict and not form.defaults and (missing or unknown):
        lists = f"missing: {sorted(missing)}, unknown: {sorted(unknown)}"
        raise _RefusedError(f"{where or 'the object'} has wrong fields ({lists})")
    about = where and f"{where}: "
    if form.strict and unknown:
        wrong = min(unknown)
        raise _RefusedError(f"{about}it has a key {wrong!r}, which is none: {suggest(wrong, keys)}")
    if missing:
        raise _RefusedError(f"{about}the key {missing[0]!r} is missing")


def _may_lack(field: Field[Any], form: JsonForm) -> bool:
    """Whether a file may lack the field's key."""
    given = field.default is not MISSING or field.default_factory is not MISSING
    return _how(field).later or (form.defaults and given)


def _field(field: Field[Any], wanted: Any, value: Any, where: str) -> Any:
    read = _how(field).read
    if read is None:
        return _value(wanted, value, where)
    with _placed(where):
        return read(value)


def _value(wanted: Any, value: Any, where: str) -> Any:
    """`value` as the declared type `wanted` has it."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return None if value is None and types.NoneType in inner else _any_of(inner, value, where)
    if origin is typing.Literal:
        with _placed():
            return choice(value, where, inner)
    if origin in (tuple, list):
        return origin(_listed(inner, value, where, fixed=origin is tuple and inner[-1] is not Ellipsis))
    if origin in (dict, Mapping):
        return {
            key: _value(inner[1], item, f"{where}[{key!r}]") for key, item in _object(value, where).items()
        }
    if is_dataclass(wanted):
        return _record(wanted, value, where)  # type: ignore[arg-type]
    if wanted in _CHECKS:
        with _placed():
            return _CHECKS[wanted](value, where)
    raise TypeError(f"{where} is declared as {wanted}, which no file can hold")


def _any_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """Told is what is wrong with the kind that is as the value is: a list, or none."""
    told: dict[bool, _RefusedError] = {}
    for kind in kinds:
        if kind is not types.NoneType:
            try:
                return _value(kind, value, where)
            except _RefusedError as error:
                told.setdefault(typing.get_origin(kind) in (tuple, list), error)
    raise told.get(isinstance(value, list | tuple), next(iter(told.values())))


def _listed(inner: tuple[Any, ...], value: Any, where: str, fixed: bool) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise _RefusedError(f"{where} must be a JSON list, not {shown(value)}")
    if fixed and len(value) != len(inner):
        raise _RefusedError(f"{where} must be a JSON list of {len(inner)}, not {shown(value)}")
    kinds = inner if fixed else inner[:1] * len(value)
    return [
        _value(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    ]


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _RefusedError(f"{where or 'it'} must be a JSON object, not {shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise _RefusedError(f"{where or 'it'} has the key {shown(key)}, which is no text")
    return dict(value)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {shown(value)}")
    return value


_CHECKS: dict[Any, Callable[[object, str], Any]] = {
    bool: flag,
    int: whole_number,
    float: number,
    str: _text,
    Path: path,
}


@contextmanager
def _placed(where: str = "") -> Iterator[None]:
    """Inside, what a check or a constructor raises is told with its place."""
    try:
        yield
    except _RefusedError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise _RefusedError(f"{where}: {error}" if where else str(error)) from error


def _form_of(kind: type) -> JsonForm:
    return getattr(kind, "json_form", JsonForm())


def _how(field: Field[Any] | None) -> _Stored:
    return _AS_DECLARED if field is None else field.metadata.get("stored", _AS_DECLARED)


_AS_DECLARED = _Stored(None, False, False, False, False, None, None)


@cache
def _declared(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields, by name."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
