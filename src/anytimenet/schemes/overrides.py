"""Schemes out of words: one with some of them changed, as flags give them, and one of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from anytimenet.core.errors import suggest
from anytimenet.schemes.members import MEMBERS, name_of_member
from anytimenet.schemes.scheme import Scheme


def override(scheme: Scheme, changes: Mapping[str, Any]) -> Scheme:
    """The scheme with other members or fields.

    Args:
        changes: `{"gradients": "block_dependent"}` takes a member with its defaults, and
            `{"gradients.window": 2}` sets one of its fields, however deep ("weighting.base.version"). Fields
            of a hook are set together, so that they are checked together.

    Raises:
        ValueError: for an unknown hook, member or field, with the nearest known one, or a value that the
            member refuses.

    >>> override(Scheme(), {"weighting": "sieve", "weighting.version": "v2"}).weighting.version
    'v2'
    """
    by_hook: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        hook, _, rest = path.partition(".")
        if hook not in MEMBERS:
            raise ValueError(f"a scheme has no hook {hook!r}: {suggest(hook, MEMBERS)}")
        by_hook.setdefault(hook, {})[rest] = value
    changed = {hook: _changed(getattr(scheme, hook), hook, hook, own) for hook, own in by_hook.items()}
    return replace(scheme, **changed)


def scheme_from_dict(values: Mapping[str, Any]) -> Scheme:
    """The scheme that `scheme_to_dict` gave these JSON values for.

    Raises:
        ValueError: for what `override` refuses; a member or a function of one's own has no name here.

    >>> scheme_from_dict({"weighting": {"member": "sieve", "version": "v2"}}).weighting.version
    'v2'
    """
    changes: dict[str, Any] = {}

    def flatten(path: str, value: Any) -> None:
        if isinstance(value, Mapping):
            changes[path] = value.get("member")
            for name, one in value.items():
                if name != "member":
                    flatten(f"{path}.{name}", one)
        else:
            changes[path] = value

    for hook, member in values.items():
        flatten(hook, member)
    return override(Scheme(), changes)


def _changed(config: Any, hook: str, path: str, changes: Mapping[str, Any]) -> Any:
    """`config`, or the member under "" in its place, with the fields of `changes` set."""
    if "" in changes:
        config = _member(hook, path, changes[""])
    by_field: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        if name:
            field, _, deeper = name.partition(".")
            by_field.setdefault(field, {})[deeper] = value
    if not by_field:
        return config
    hints = get_type_hints(type(config))
    known = [field.name for field in fields(config)]
    values = {}
    for field, own in by_field.items():
        where = f"{path}.{field}"
        if field not in known:
            hint = suggest(field, known) if known else "it has no fields"
            raise ValueError(f"{where}: {name_of_member(type(config))} has no field {field!r}; {hint}")
        before = getattr(config, field)
        if type(before) in MEMBERS[hook].values():
            values[field] = _changed(before, hook, where, own)
        elif set(own) != {""}:
            raise ValueError(f"{where} is a value and has no fields: leave out what follows it")
        else:
            values[field] = _value(where, own[""], hints[field])
    return replace(config, **values)


def _member(hook: str, path: str, name: Any) -> Any:
    if not isinstance(name, str) or name not in MEMBERS[hook]:
        raise ValueError(f"{path} has no member {name!r}: {suggest(str(name), MEMBERS[hook])}")
    return MEMBERS[hook][name]()


def _value(path: str, value: Any, hint: Any) -> Any:
    if not _fits(value, hint):
        raise ValueError(f"{path}={value}: {_in_words(hint)} is needed")
    return tuple(value) if isinstance(value, list) else value


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(one, get_args(hint)[0]) for one in value)
    if hint is NoneType:
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return isinstance(value, str) if hint is str else True


def _in_words(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return " or ".join(_in_words(one) for one in get_args(hint))
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if origin is tuple:
        one = get_args(hint)[0]
        return 'a list such as ["largest"]' if get_origin(one) is Literal else "a list such as [1,2]"
    words = {NoneType: "null", bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    return words.get(hint, "another value")
