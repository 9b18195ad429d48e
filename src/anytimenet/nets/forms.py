"""Forms of a net: one registered name may build another structure than it once did, and says so by a number.

What was saved before a change cannot be built again after it. Its form is compared before anything is built,
so that an old bundle is refused with the reason and never read into layers that it was not saved from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from anytimenet.core.manifest.records import NetOrigin


class Form(Protocol):
    """What is known of the form that a name builds today."""

    @property
    def form(self) -> int:
        """The number of the form, from 1."""

    @property
    def changed(self) -> str:
        """What is different in it, for those who still hold the form before."""


def check_form(name: str, form: object, now: Form) -> None:
    """Raises ValueError, with the reason and the cure, unless `name` still builds the form that was saved."""
    if type(form) is not int or form < 1:
        raise ValueError(f"the form of {name} is a whole number from 1 on, not {form!r}")
    if form > now.form:
        raise ValueError(
            f"{name} was saved in form {form} and this anytimenet builds form {now.form}: upgrade anytimenet"
        )
    if form < now.form:
        reason = f" ({now.changed})" if now.changed else ""
        raise ValueError(
            f"{name} was saved in form {form} and this anytimenet builds form {now.form}{reason}: train it "
            f"anew, or use the anytimenet that saved it"
        )


def check_forms(origin: NetOrigin, entries: Mapping[str, Form]) -> None:
    """`check_form` of a saved net and of its members; a member that tells no form was saved in form 1."""
    for name, form in ((origin.name, origin.form), *_members(origin.arguments)):
        if name in entries:
            check_form(name, 1 if form is None else form, entries[name])


def with_forms(arguments: Mapping[str, Any], entries: Mapping[str, Form]) -> dict[str, Any]:
    """`arguments` of a builder whose members tell the form that they have today; 1 goes without saying."""
    if not any(True for _ in _members(arguments)):
        return dict(arguments)
    return {**arguments, "members": [_with_form(spec, entries) for spec in arguments["members"]]}


def other_forms(origin: NetOrigin) -> dict[str, int]:
    """The forms of a net and its members by name, those alone that are not the first one."""
    found = ((origin.name, origin.form), *_members(origin.arguments))
    return {name: form for name, form in found if form not in (None, 1)}


def _members(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and form of every member that the arguments of an ensemble describe, at every depth."""
    members = arguments.get("members")
    for spec in members if isinstance(members, list | tuple) else ():
        if isinstance(spec, Mapping) and isinstance(spec.get("name"), str):
            yield spec["name"], spec.get("form")
            inner = spec.get("arguments")
            yield from _members(inner) if isinstance(inner, Mapping) else ()


def _with_form(spec: Any, entries: Mapping[str, Form]) -> Any:
    if not isinstance(spec, Mapping) or spec.get("name") not in entries:
        return spec
    told = dict(spec)
    if told.get("form") is None and entries[told["name"]].form != 1:
        told["form"] = entries[told["name"]].form
    if isinstance(told.get("arguments"), Mapping):
        told["arguments"] = with_forms(told["arguments"], entries)
    return told
