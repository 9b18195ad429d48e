"""A net whose structure changed under its name: what an earlier form saved is refused, with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anytimenet import TrainConfig, fit
from anytimenet.bundle import Bundle
from anytimenet.core.errors import BundleError, TrainingError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.nets import create_net, net_entry, rebuild_net, register_net, registry
from anytimenet.nets.members.specs import origin_of

GREY = Preprocessing(8, 8, 1, mean=(0.4,), std=(0.3,))
NAME = "isresnext_tiny"
MEMBERS = [{"name": NAME, "keep": [1]}, {"name": NAME}]
TWO_DEEP = [{"name": "eann", "arguments": {"members": MEMBERS}}]


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call it, and from then on the net is registered in form 2."""

    def change(form: int = 2) -> None:
        entry = replace(net_entry(NAME), form=form, changed="its stem is wider")
        monkeypatch.setitem(registry._ENTRIES, NAME, entry)

    return change


def saved(path: Path, name: str, **arguments: Any) -> Path:
    net = create_net(name, num_classes=2, in_channels=1, **arguments)
    bundle = Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=GREY)
    return bundle.save(path)


@pytest.mark.parametrize(
    ("name", "arguments"), [(NAME, {}), ("eann", {"members": MEMBERS}), ("eann", {"members": TWO_DEEP})]
)
def test_a_bundle_of_an_earlier_form_is_refused_before_it_is_built(
    tmp_path: Path, changed: Any, monkeypatch: pytest.MonkeyPatch, name: str, arguments: dict[str, Any]
) -> None:
    folder = saved(tmp_path / "bundle", name, **arguments)
    changed()
    for entry in (NAME, name):  # a builder that runs all the same would be found out
        broken = replace(net_entry(entry), build=lambda num_classes, **_: 1 / 0)  # type: ignore[arg-type]
        monkeypatch.setitem(registry._ENTRIES, entry, broken)
    with pytest.raises(
        BundleError, match=rf"{NAME} was saved in form 1 .* builds form 2 \(its stem is wider\)"
    ):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("name", "arguments"), [(NAME, {}), ("eann", {"members": MEMBERS}), ("eann", {"members": TWO_DEEP})]
)
def test_a_bundle_of_the_present_form_loads_and_one_of_a_later_form_says_upgrade(
    tmp_path: Path, changed: Any, name: str, arguments: dict[str, Any]
) -> None:
    changed()
    folder = saved(tmp_path / "bundle", name, **arguments)
    assert Bundle.load(folder, stages=1).num_stages == 1
    changed(1)
    with pytest.raises(BundleError, match=r"saved in form 2 .* builds form 1: upgrade anytimenet"):
        Bundle.load(folder)


def test_what_tells_no_form_was_saved_in_form_1(changed: Any) -> None:
    origin = NetOrigin("eann", {"num_classes": [2], "members": MEMBERS})
    rebuild_net(origin)
    changed()
    assert create_net("eann", 2, members=MEMBERS).num_stages == 4  # of today, since a person asks for it
    with pytest.raises(ValueError, match="form 1"):
        rebuild_net(origin)
    with pytest.raises(ValueError, match=r"member 1 cannot be built: .*form 1"):
        create_net("eann", 2, members=[{"name": NAME, "form": 1}])
    with pytest.raises(ValueError, match="whole number"):
        create_net("eann", 2, members=[{"name": NAME, "form": "2"}])


def test_a_kept_or_joined_net_remembers_its_form(changed: Any) -> None:
    changed()
    net = create_net(NAME, 2)
    origin, kept = origin_of(net), origin_of(net.keep((1,)))
    assert origin is not None
    assert kept is not None
    assert origin.form == kept.form == 2
    assert rebuild_net(kept).num_stages == 1
    joined = create_net("eann", 2, members=TWO_DEEP)
    for origin in (joined.origin, origin_of(joined), origin_of(joined.keep((1, 2)))):
        assert origin is not None
        assert rebuild_net(origin).num_classes == (2,)


def test_a_checkpoint_of_an_earlier_form_is_refused_with_the_reason(tmp_path: Path, changed: Any) -> None:
    config = TrainConfig(epochs=1, batch_size=8)
    pictures = [(np.full((8, 8), 25 * i, dtype=np.uint8), i % 2) for i in range(10)]

    def net(name: str, **arguments: Any) -> Any:
        return create_net(name, 2, in_channels=1, **arguments)

    for name, arguments in ((NAME, {}), ("eann", {"members": MEMBERS})):
        out = tmp_path / name
        changed(1)
        fit(net(name, **arguments), pictures, pictures, config, out=out)
        fit(net(name, **arguments), pictures, pictures, config, out=out, resume=True)
        changed()
        with pytest.raises(TrainingError, match=rf"{NAME} was saved in form 1 .*its stem is wider"):
            fit(net(name, **arguments), pictures, pictures, config, out=out, resume=True)


@pytest.mark.parametrize("form", [0, True, "2", 1.0])
def test_a_form_is_a_number(form: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="form"):
        register_net("never", input_shape=(1, 8, 8), summary="a net", form=form)
