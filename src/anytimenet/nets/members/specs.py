"""Members of an EANN: whether nets belong together, how each is built as JSON, and nets built from that."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import lcm
from typing import Any

from anytimenet.core.errors import NeedsValuesError, suggest
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.core.segments import InputSpec
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.registry import check_saved_form, create_net, list_nets, net_entry

MemberSpec = Mapping[str, Any]
"""`{"name": NET, "arguments": {...}, "keep": [stages] or None, "form": NUMBER}`; only the name is needed."""

_KEYS = ("name", "arguments", "keep", "form")


def check_members(members: Sequence[AnytimeNet]) -> None:
    """Raises TypeError or ValueError, naming the member, unless these nets can be one EANN."""
    if not members:
        raise ValueError("an EANN needs at least one member: give nets, the cheapest first")
    for net in members:
        if not isinstance(net, AnytimeNet):
            raise TypeError(f"a member of an EANN is an AnytimeNet, not a {type(net).__name__}")
    first = members[0]
    owners: dict[int, int] = {}
    for number, net in enumerate(members, 1):
        if tuple(net.num_classes) != tuple(first.num_classes):
            raise ValueError(
                f"member {number} predicts {tuple(net.num_classes)} classes and member 1 "
                f"{tuple(first.num_classes)}: build all with the same num_classes"
            )
        if net.in_channels != first.in_channels:
            raise ValueError(
                f"member {number} reads {net.in_channels}-channel images and member 1 "
                f"{first.in_channels}-channel ones: build all with the same in_channels"
            )
        for tensor in (*net.parameters(), *net.buffers()):
            other = owners.setdefault(id(tensor), number)
            if other != number:
                raise ValueError(
                    f"member {number} shares weights with member {other}: give each a net of its own "
                    "(copy.deepcopy)"
                )


def joined_input(members: Sequence[AnytimeNet]) -> InputSpec:
    """What all of `members` can read. Raises ValueError if there is no such input."""
    specs = [net.input_spec for net in members]
    kinds, fixed = {spec.kind for spec in specs}, {spec.fixed for spec in specs if spec.fixed is not None}
    if len(kinds) > 1 or len(fixed) > 1:
        raise ValueError(f"the members of an EANN read one input, and these read {specs}")
    least, multiple_of = max(spec.smallest for spec in specs), lcm(*(spec.multiple_of for spec in specs))
    return replace(specs[0], smallest=least, multiple_of=multiple_of, fixed=fixed.pop() if fixed else None)


def build_members(
    members: Sequence[MemberSpec], num_classes: Sequence[int], in_channels: int, init: str
) -> list[AnytimeNet]:
    """The nets that `members` describe, with fresh weights, in the same order.

    Each gets `num_classes`. It gets `in_channels` and `init`, too, where its builder knows them and its own
    arguments do not say otherwise.

    Raises:
        ValueError: if `members` is no list of such objects, or one of them cannot be built; it is named.

    >>> [net] = build_members([{"name": "isresnext_tiny", "keep": [1, 3]}], (10,), 1, "msra")
    >>> net.num_stages, net.in_channels
    (2, 1)
    """
    if not isinstance(members, list | tuple) or not members:
        raise ValueError(
            f"members {members!r}: a list of objects is needed, one a net, for example "
            '[{"name": "resnet_ann_45"}, {"name": "resnet_ann_81"}]'
        )
    shared = {"in_channels": in_channels, "init": init}
    return [_build(number, spec, num_classes, shared) for number, spec in enumerate(members, 1)]


def describe_member(net: AnytimeNet) -> dict[str, Any] | None:
    """What `build_members` builds such a net from, defaults spelt out; None for a net built by hand."""
    origin = origin_of(net)
    if origin is None:
        return None
    arguments = {name: value for name, value in origin.arguments.items() if name != "num_classes"}
    keep = None if origin.keep is None else list(origin.keep)
    return {"name": origin.name, "arguments": arguments, "keep": keep, **_form(origin.form)}


def origin_of(net: AnytimeNet) -> NetOrigin | None:
    """How to build the net again, its builder's defaults spelt out: a later version may change them."""
    if net.origin is None:
        return None
    arguments = {**_defaults(net.origin.name), **net.origin.arguments}
    return replace(net.origin, arguments=members_spelt_out(arguments))


def spell_out(*members: MemberSpec) -> tuple[dict[str, Any], ...]:
    """`members` with the defaults of their builders, so that a bundle outlives a change of them.

    What the whole net passes on, `in_channels` and `init`, is left to it unless a member says its own.
    Members of members are spelt out alike.
    """
    passed_on = ("in_channels", "init")
    found = []
    for spec in members:
        own = {name: value for name, value in _defaults(spec["name"]).items() if name not in passed_on}
        arguments = members_spelt_out({**own, **(spec.get("arguments") or {})})
        form = net_entry(spec["name"]).form if spec.get("form") is None else spec["form"]
        member = {"name": spec["name"], "arguments": arguments, "keep": spec.get("keep"), **_form(form)}
        found.append(member)
    return tuple(found)


def members_spelt_out(arguments: dict[str, Any]) -> dict[str, Any]:
    """`arguments` of a builder; where it is one of an EANN, its members as `spell_out` has them."""
    members = arguments.get("members")
    known = isinstance(members, list | tuple) and all(
        isinstance(spec, Mapping) and set(spec) <= set(_KEYS) and spec.get("name") in list_nets()
        for spec in members
    )
    return {**arguments, "members": list(spell_out(*members))} if members and known else arguments


def origin_of_members(name: str, members: Sequence[AnytimeNet]) -> NetOrigin | None:
    """How `create_net(name, members=[...])` builds nets like these; None if one was built by hand."""
    described = [describe_member(net) for net in members]
    known = [spec for spec in described if spec is not None]
    if len(known) < len(described):
        return None
    first = members[0]
    arguments = {
        "num_classes": list(first.num_classes),
        "in_channels": first.in_channels,
        "members": known,
    }
    inits = {spec["arguments"]["init"] for spec in known if "init" in spec["arguments"]}
    if len(inits) == 1:
        arguments["init"] = inits.pop()
    return NetOrigin(name, arguments)


def _build(number: int, spec: Any, num_classes: Sequence[int], shared: Mapping[str, Any]) -> AnytimeNet:
    """The net of one member."""
    name, arguments, keep = _checked(number, spec)
    try:
        if spec.get("form") is not None:
            check_saved_form(name, spec["form"])
        known = inspect.signature(net_entry(name).build).parameters
        passed_on = {key: value for key, value in shared.items() if key in known}
        net = create_net(name, tuple(num_classes), **{**passed_on, **arguments})
        return net if keep is None else net.keep(keep)
    except NeedsValuesError:
        raise
    # A builder is anybody's code, and its arguments may come from a file.
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"member {number} cannot be built: {error}") from error


def _checked(number: int, spec: Any) -> tuple[str, dict[str, Any], Sequence[int] | None]:
    """Name, arguments and kept stages of a member."""
    if not isinstance(spec, Mapping):
        raise ValueError(
            f'member {number} is {spec!r}: an object is needed, for example {{"name": "resnet_ann_45"}}'
        )
    for key in spec:
        if key not in _KEYS:
            raise ValueError(f"member {number} has no field {key!r}: {suggest(str(key), _KEYS)}")
    if "name" not in spec:
        raise ValueError(f'member {number} has no "name": the name of a registered net is needed')
    name, arguments, keep = spec["name"], spec.get("arguments"), spec.get("keep")
    arguments = {} if arguments is None else arguments
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        raise ValueError(
            f'member {number}: "name" is a text and "arguments" an object, not {name!r} and {arguments!r}'
        )
    for key in arguments:
        if not isinstance(key, str):
            raise ValueError(f'member {number}: "arguments" go by name, and {key!r} is none: text is needed')
    if "num_classes" in arguments:
        raise ValueError(f"member {number}: num_classes is that of the whole net, leave it out here")
    stages = isinstance(keep, list | tuple) and all(type(stage) is int for stage in keep)
    if keep is not None and not stages:
        raise ValueError(
            f'member {number}: "keep" is a list of stages, for example [1, 2], or nothing, not {keep!r}'
        )
    return name, dict(arguments), keep


def _form(form: int) -> dict[str, int]:
    """What a member says of its form; the first one goes without saying."""
    return {} if form == 1 else {"form": form}


def _defaults(name: str) -> dict[str, Any]:
    """The defaults of a builder's arguments, as JSON knows them."""
    parameters = list(inspect.signature(net_entry(name).build).parameters.values())[1:]
    return {p.name: p.default for p in parameters if p.default is not p.empty and _is_json(p.default)}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
