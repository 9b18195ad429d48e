"""The codec between records and JSON: what is written comes back, and every refusal names its place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from anytimenet.core.errors import BundleError, DataError
from anytimenet.core.records import JsonForm, Record, as_json, from_json, stored


@dataclass(frozen=True)
class Inner:
    share: float
    on: bool = False


@dataclass(frozen=True)
class Outer(Record):
    name: str
    kind: Literal["a", "b"]
    sides: tuple[int, int]
    inner: tuple[Inner, ...] = ()
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)
    size: int | tuple[int, ...] | None = None
    later: int | None = field(default=None, metadata=stored(later=True))
    brief: tuple[str, ...] = field(default=(), metadata=stored(brief=True))
    renamed: int = field(default=1, metadata=stored(key="class"))
    halved: float = field(
        default=1.0, metadata=stored(write=lambda value: value / 2, read=lambda value: value * 2)
    )
    json_form = JsonForm(DataError, "an outer")

    def __post_init__(self) -> None:
        if self.sides[0] > self.sides[1]:
            raise ValueError("sides must rise")


FULL = Outer(
    *("x", "b", (1, 2), (Inner(0.5, True), Inner(1)), {"k": Inner(0.25)}, {"any": [1, None]}),
    size=(3, 4),
    later=7,
    brief=("y",),
    renamed=5,
    halved=3.0,
)


def test_what_is_written_comes_back_through_a_file():
    assert Outer.from_dict(json.loads(json.dumps(FULL.to_dict()))) == FULL
    assert Outer.from_dict(Outer("x", "a", (1, 1)).to_dict()) == Outer("x", "a", (1, 1))
    assert FULL.to_dict()["inner"] == [{"share": 0.5, "on": True}, {"share": 1, "on": False}]


def test_fields_are_stored_as_their_metadata_say():
    written = FULL.to_dict()
    assert (written["class"], written["halved"], written["brief"]) == (5, 1.5, ["y"])
    short = Outer("x", "a", (1, 1)).to_dict()
    assert "brief" not in short
    assert "later" in short
    del short["later"]
    assert Outer.from_dict(short) == Outer("x", "a", (1, 1))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": 3}, "name must be text, not 3"),
        ({"kind": "c"}, "kind 'c' does not exist: known are: a, b"),
        ({"sides": [1]}, r"sides must be a JSON list of 2, not \[1\]"),
        ({"sides": [1, 2.5]}, r"sides\[1\] must be a whole number, not 2.5"),
        ({"sides": [2, 1]}, "sides must rise"),
        ({"inner": {}}, "inner must be a JSON list"),
        ({"inner": [{"share": 1}, {"on": True}]}, r"inner\[0\]: the key 'on' is missing"),
        ({"inner": [{"share": math.nan, "on": True}]}, r"inner\[0\].share must be a finite number"),
        ({"by_name": {"k": {"share": 1, "on": 1}}}, r"by_name\['k'\].on must be True or False, not 1"),
        ({"by_name": []}, "by_name must be a JSON object"),
        ({"size": "x"}, "size must be a whole number, not 'x'"),
        ({"size": [1, "x"]}, r"size\[1\] must be a whole number, not 'x'"),
        ({"class": None}, "class must be a whole number, not None"),
        ({"halved": None}, "halved: unsupported operand"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: dict[str, Any], why: str):
    with pytest.raises(DataError, match=f"^not a description of an outer: {why}"):
        Outer.from_dict({**FULL.to_dict(), **change})


def test_what_lacks_a_key_or_is_no_object_is_refused():
    with pytest.raises(DataError, match="the key 'name' is missing"):
        Outer.from_dict({})
    with pytest.raises(DataError, match="it must be a JSON object, not 7"):
        from_json(Outer, 7)
    with pytest.raises(DataError, match="by_name has the key 3, which is no text"):
        Outer.from_dict({**FULL.to_dict(), "by_name": {3: {}, "k": {}}})
    with pytest.raises(TypeError, match="values must be Mapping"):
        Outer.from_dict(7)


@dataclass(frozen=True)
class Strict(Record):
    count: int
    inner: Inner | None = None
    json_form = JsonForm(BundleError, cure="save it again", keys=("inner", "count", "even"), strict=True)

    def __post_init__(self) -> None:
        if self.count > 9:
            raise BundleError("count is above 9: count again")

    @property
    def even(self) -> bool:
        return self.count % 2 == 0

    @classmethod
    def _as_read(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"inner": None, **values}


def test_a_strict_form_refuses_keys_that_it_does_not_know_and_says_what_to_do():
    assert list(Strict(2).to_dict().items()) == [("inner", None), ("count", 2), ("even", True)]
    assert Strict.from_dict({"count": 3, "even": True}) == Strict(3)
    with pytest.raises(BundleError, match=r"\(missing: \['even'\], unknown: \['odd'\]\); save it again"):
        Strict.from_dict({"count": 1, "odd": 2})
    with pytest.raises(BundleError, match=r"^count must be at least 0, not -1; save it again$"):
        Strict.from_dict({"count": -1, "even": True})
    with pytest.raises(BundleError, match=r"^count is above 9: count again$"):  # which says its own cure
        Strict.from_dict({"count": 10, "even": True})


@dataclass(frozen=True)
class Written(Record):
    """What a person writes."""

    name: str
    size: int = 3
    folder: Path | None = field(default=None, metadata=stored(here=True))
    json_form = JsonForm(strict=True, defaults=True)


def test_what_a_person_writes_may_leave_out_what_has_a_default():
    assert Written.from_dict({"name": "x"}) == Written("x")
    assert Written("x", folder=Path("here")).to_dict() == {"name": "x", "size": 3}
    assert Written.from_dict({"name": "x", "folder": "here"}) == Written("x", folder=Path("here"))
    with pytest.raises(ValueError, match="the key 'name' is missing"):
        Written.from_dict({})
    with pytest.raises(ValueError, match=r"it has a key 'sise', which is none: did you mean 'size'\?"):
        Written.from_dict({"name": "x", "sise": 3})


def test_records_without_a_form_are_read_and_written_by_function():
    assert from_json(Inner, as_json(Inner(0.5))) == Inner(0.5)
    with pytest.raises(ValueError, match=r"^here.share must be a number, not 'x'$"):
        from_json(Inner, {"share": "x", "on": True}, "here")
