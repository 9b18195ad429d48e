"""A bundle comes back exactly, a part of it reads no more than that part, and a damaged one says so."""

from __future__ import annotations

import builtins
import copy
import json
import os
import pathlib
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load as load_numpy
from safetensors.torch import load as load_torch
from safetensors.torch import save as save_torch
from torch import nn

import anytimenet.bundle.folder as folder_module
from anytimenet.bundle import Bundle
from anytimenet.bundle.counted import counted_costs
from anytimenet.core.answers.level_selection import LevelSelection
from anytimenet.core.errors import BundleError, StatisticsMissingError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.folder import record_of
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import NetOrigin, TaskRecord, Thresholds
from anytimenet.costs import StageCost, stage_costs
from anytimenet.nets import AnytimeNet, Segment, create_net, list_nets, rebuild_net, register_net, wrap
from anytimenet.nets.members.specs import origin_of
from anytimenet.nets.slices.isresnext import ISResNeXt

TINY = list_nets("*_tiny")
GREY = Preprocessing(8, 8, 1, mean=(0.4,), std=(0.3,), resample="box")
RGB = Preprocessing(8, 8, 3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
TAXONOMY = Taxonomy.from_mapping(("cat", "dog", "oak"), {"cat": "animal", "dog": "animal", "oak": "plant"})
SHARDS = [f"model-0000{k}-of-00003.safetensors" for k in (1, 2, 3)]
V1 = Path(__file__).parents[2] / "data" / "bundle-v1"
V2, V3 = V1.with_name("bundle-v2"), V1.with_name("bundle-v3")


def randomise(net: AnytimeNet) -> AnytimeNet:
    """Fills every tensor, buffers and counters too, with numbers that no initialisation gives."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_(values.abs() + 0.5 if name.endswith("running_var") else values / 3)
        else:
            tensor.copy_(torch.randint(1, 1000, tensor.shape, generator=generator))
    return net


@cache
def costs_of(name: str, classes: Any) -> list[StageCost]:
    """Counted once a net, since counting takes longer than what most tests look at."""
    return stage_costs(create_net(name, num_classes=classes, in_channels=1), (1, 8, 8))


def make_bundle(
    name: str = "isresnext_tiny", *, levels: bool = False, dtype: torch.dtype = torch.float32, **options: Any
) -> Bundle:
    classes: Any = (3, 2) if levels else 4
    names = TAXONOMY.levels if levels else (("a", "b", "c", "d"),)
    net = randomise(create_net(name, num_classes=classes, in_channels=1).to(dtype))
    return Bundle.create(
        net,
        class_names=names,
        preprocessing=GREY,
        taxonomy=TAXONOMY if levels else None,
        provenance={"recipe": "test", "seed": 3},
        costs=costs_of(name, classes),
        **options,
    )


KEY = "12345678-cpu-eager-1-float32"
TABLE = f"costs2/{KEY}.json"


def cost_table(num_stages: int, input_shape: tuple[int, ...] = (1, 8, 8), device: str = "cpu") -> CostTable:
    entries = {
        (a, b, batch): Latency(10.0 * a + b, 100.0, 100.0, repeats=batch)
        for b in range(1, num_stages + 1)
        for a in range(b)
        for batch in (1, 8)
    }
    return CostTable(device, {"id": "12345678"}, "float32", 1, input_shape, entries)


def assert_same_weights(got: AnytimeNet, truth: AnytimeNet) -> None:
    got_tensors, tensors = got.state_dict(), truth.state_dict()
    assert list(got_tensors) == list(tensors)
    for name, tensor in tensors.items():
        assert got_tensors[name].dtype == tensor.dtype, name
        assert torch.equal(got_tensors[name], tensor), name


def forge(folder: Path, name: str, data: bytes) -> None:
    """Replaces a file and makes hashes and digest right again, as a forger would."""
    (folder / name).write_bytes(data)
    manifest = Manifest.read(folder)
    replace(manifest, files={**manifest.files, name: record_of(data)}).write(folder)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    bundle = make_bundle(val_accuracies=(0.5, 0.9, 0.7))
    bundle.add_cost_table(cost_table(3))
    bundle.save(tmp_path / "bundle")
    return tmp_path / "bundle"


# --- the round trip -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(
    ("levels", "dtype"),
    [(False, torch.float32), (True, torch.float64), (True, torch.bfloat16)],
    ids=["float32", "levels-float64", "levels-bfloat16"],
)
def test_a_net_comes_back_exactly(tmp_path: Path, name: str, levels: bool, dtype: torch.dtype) -> None:
    bundle = make_bundle(name, levels=levels, dtype=dtype)
    bundle.save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b")
    assert_same_weights(loaded.net, bundle.net)
    assert loaded.manifest == bundle.manifest
    assert not loaded.net.training
    assert all(parameter.requires_grad for parameter in loaded.net.parameters())
    x = torch.randn(2, 1, 8, 8, dtype=dtype)
    for got, truth in zip(loaded.net(x), bundle.net.eval()(x), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(got, truth, strict=True))


@pytest.mark.parametrize("name", TINY)
def test_the_first_shards_are_the_first_stages(tmp_path: Path, name: str) -> None:
    bundle = make_bundle(name, levels=True)
    bundle.save(tmp_path / "b")
    for stages in range(1, bundle.num_stages + 1):
        loaded = Bundle.load(tmp_path / "b", stages=stages)
        assert_same_weights(loaded.net, bundle.net.keep(range(1, stages + 1)))
        assert loaded.num_stages == stages
        assert loaded.manifest.stages == bundle.manifest.stages[:stages]


@pytest.mark.parametrize("name", [name for name in TINY if create_net(name).num_stages > 2])
@pytest.mark.parametrize("stages", [(2,), (1, 3), (2, 3)])
def test_kept_stages_are_saved_and_cut_again(tmp_path: Path, name: str, stages: tuple[int, ...]) -> None:
    whole = make_bundle(name)
    kept = whole.keep(stages)
    kept.save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b")
    assert_same_weights(loaded.net, whole.net.keep(stages))
    assert loaded.manifest.net is not None
    assert loaded.manifest.net.keep == stages
    first = Bundle.load(tmp_path / "b", stages=1)
    assert_same_weights(first.net, whole.net.keep(stages[:1]))
    first.save(tmp_path / "first")
    assert_same_weights(Bundle.load(tmp_path / "first").net, whole.net.keep(stages[:1]))


def test_uneven_slices_and_exits_are_rebuilt(tmp_path: Path) -> None:
    net = create_net("isresnext_tiny", 4, slices=(1, 2, 1), exits_after=(2, 3), width=16, stem_bn=True)
    bundle = Bundle.create(randomise(net), class_names=[list("abcd")], preprocessing=RGB)
    bundle.save(tmp_path / "b")
    assert_same_weights(Bundle.load(tmp_path / "b").net, net)
    assert_same_weights(Bundle.load(tmp_path / "b", stages=1).net, net.keep((1,)))


@pytest.mark.parametrize("name", list_nets())
def test_every_registered_net_can_be_built_again_from_json(name: str) -> None:
    with torch.device("meta"):
        net = create_net(name, num_classes=(7, 2))
    origin = origin_of(net)
    assert origin is not None
    with torch.device("meta"):
        again = rebuild_net(NetOrigin(**json.loads(json.dumps(vars(origin)))))
    assert {n: t.shape for n, t in again.state_dict().items()} == {
        n: t.shape for n, t in net.state_dict().items()
    }


def test_defaults_are_spelt_out_since_a_later_version_may_change_them(saved: Path) -> None:
    net = Manifest.read(saved).net
    assert net is not None
    assert net.arguments["width"] == 12
    assert net.arguments["slices"] == [1, 1, 1]


def test_saving_twice_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_bundle().save(tmp_path / name)
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_loading_draws_no_random_numbers(saved: Path) -> None:
    state = torch.random.get_rng_state()
    Bundle.load(saved, stages=2)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_loaded_net_trains(saved: Path) -> None:
    net = Bundle.load(saved, stages=2).net.train()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    sum(logits.square().sum() for (logits,) in net(torch.randn(4, 1, 8, 8))).backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert all(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_shard_can_be_read_without_this_package(saved: Path) -> None:
    net = Bundle.load(saved).net
    found: dict[str, list[tuple[str, np.ndarray]]] = {}
    for shard in SHARDS:
        for key, piece in load_numpy((saved / shard).read_bytes()).items():
            name, _, box = key.partition("[")
            found.setdefault(name, []).append((box.rstrip("]"), piece))
    assert any(box for pieces in found.values() for box, _ in pieces)
    for name, tensor in net.state_dict().items():
        goal = np.zeros(tensor.shape, tensor.numpy().dtype)
        for box, piece in found[name]:
            spans: Any = [slice(*map(int, span.split(":"))) for span in box.split(",")] if box else [...]
            goal[tuple(spans)] = piece
        assert np.array_equal(goal, tensor.numpy()), name


# --- no more than needed ------------------------------------------------------------------------------


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Counts what is read from each file, however it is opened."""
    counts: dict[str, int] = {}
    really_open, open_descriptor = builtins.open, os.fdopen

    def counting_open(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        return counted(really_open(file, mode, *args, **options), os.fspath(file))

    def counting_descriptor(number: int, *args: Any, **options: Any) -> Any:
        return counted(open_descriptor(number, *args, **options), os.readlink(f"/proc/self/fd/{number}"))

    def counted(stream: Any, name: str) -> Any:
        read = stream.read

        class Counting:
            def __enter__(self) -> Counting:
                return self

            def __exit__(self, *_: object) -> None:
                stream.close()

            def fileno(self) -> int:
                number: int = stream.fileno()
                return number

            def __getattr__(self, attribute: str) -> Any:
                raise AssertionError(f"{name} is read by {attribute}, which is not counted")

            def read(self, *size: int) -> Any:
                data = read(*size)
                counts[name] = counts.get(name, 0) + len(data)
                return data

        return Counting()

    monkeypatch.setattr(builtins, "open", counting_open)
    monkeypatch.setattr(os, "fdopen", counting_descriptor)
    monkeypatch.setattr(pathlib.Path, "open", counting_open)
    yield counts
    monkeypatch.undo()


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_loading_k_stages_reads_the_first_k_shards_once_and_no_byte_more(
    saved: Path, bytes_read: dict[str, int], stages: int
) -> None:
    for shard in SHARDS[stages:]:
        (saved / shard).unlink()
    Bundle.load(saved, stages=stages)
    names = ["bundle.json", TABLE, *SHARDS[:stages]]
    assert bytes_read == {str(saved / name): (saved / name).stat().st_size for name in names}


def test_a_file_of_another_size_is_not_even_read(saved: Path, bytes_read: dict[str, int]) -> None:
    os.truncate(saved / SHARDS[0], 1_000_000)
    with pytest.raises(BundleError, match="1000000 bytes instead of"):
        Bundle.load(saved)
    assert str(saved / SHARDS[0]) not in bytes_read


def test_a_shard_that_is_not_downloaded_yet_is_named_with_what_can_be_loaded(saved: Path) -> None:
    (saved / SHARDS[2]).unlink()
    with pytest.raises(BundleError, match=rf"{SHARDS[2]} is missing: download it, .*stages=2"):
        Bundle.load(saved)
    assert Bundle.load(saved, stages=2).num_stages == 2


@pytest.mark.parametrize("stages", [0, 4, -1, 1.0, True, "1"])
def test_stages_that_are_not_there_cannot_be_loaded(saved: Path, stages: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"stages( must be a whole number|, so 1 to 3)"):
        Bundle.load(saved, stages=stages)


def test_a_device_that_is_not_there_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match="cannot be used here"):
        Bundle.load(saved, device="no such thing")


def test_a_run_folder_is_loaded_by_its_bundle(saved: Path) -> None:
    assert_same_weights(Bundle.load(saved.parent).net, Bundle.load(saved).net)


# --- damaged and foreign ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SHARDS, TABLE])
def test_a_damaged_file_is_named(saved: Path, name: str) -> None:
    data = (saved / name).read_bytes()
    flipped = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
    for content, cause in (
        (data[:-1], "truncated"),
        (data + b"x", "another file"),
        (flipped, "SHA-256 differs"),
    ):
        (saved / name).write_bytes(content)
        with pytest.raises(BundleError, match=rf"{re.escape(name)} .*{cause}"):
            Bundle.load(saved)
    (saved / name).unlink()
    with pytest.raises(BundleError, match=rf"{re.escape(name)} is missing"):
        Bundle.load(saved)


def test_a_shard_of_another_bundle_is_refused(saved: Path, tmp_path: Path) -> None:
    other = make_bundle()
    with torch.no_grad():
        next(other.net.parameters()).add_(1)
    other.save(tmp_path / "other")
    (saved / SHARDS[0]).write_bytes((tmp_path / "other" / SHARDS[0]).read_bytes())
    with pytest.raises(BundleError, match="taken from another folder"):
        Bundle.load(saved)


def test_forged_shards_with_right_hashes_are_refused(saved: Path) -> None:
    original = (saved / SHARDS[1]).read_bytes()
    tensors = load_torch(original)
    name = next(name for name in tensors if tensors[name].ndim == 4)
    cut_short = {key: tensor for key, tensor in tensors.items() if key != name}
    for forged, cause in (
        (b"no safetensors", "is no safetensors file"),
        (save_torch(cut_short), rf"missing: \['{re.escape(name)}'\]"),
        (save_torch({**tensors, "extra": torch.zeros(1)}), r"unknown: \['extra'\]"),
        (save_torch({**tensors, name: tensors[name][:, :, :0].contiguous()}), "has shape .* and should have"),
        (save_torch({**tensors, name: torch.zeros(1)}), "has shape .* and should have"),
        (
            save_torch({**tensors, "stem.conv.weight[4:8,0:1,0:3,0:3]": torch.zeros(4, 1, 3, 3).half()}),
            "dtypes",
        ),
    ):
        forge(saved, SHARDS[1], forged)
        with pytest.raises(BundleError, match=cause) as caught:
            Bundle.load(saved)
        assert str(saved / SHARDS[1]) in str(caught.value) or cause == "dtypes"
    forge(saved, SHARDS[1], original)
    Bundle.load(saved)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"{", "is not JSON"),
        (b"{}", "'format' is missing"),
        (b"\xff", "is not JSON"),
        (b"[1]", "a cost table is"),
        (b'{"format": 3}', "of format 1 or 2"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_cost_table_that_cannot_be_read_is_set_aside_by_name(
    saved: Path, content: bytes, cause: str
) -> None:
    forge(saved, TABLE, content)
    with pytest.warns(UserWarning, match=rf"set aside: .*float32\.json.*{cause}.*profile\(bundle\)"):
        bundle = Bundle.load(saved)
    assert bundle.cost_tables == {}
    assert bundle.predict(torch.zeros(1, 8, 8), stage=3).stage == 3


@pytest.mark.parametrize(
    ("origin", "cause"),
    [
        (
            NetOrigin("isresnet_tiny", {"num_classes": [4]}),
            "did you mean 'isresnext_tiny'.*import the module",
        ),
        (NetOrigin("isresnext_tiny", {"num_classes": [4], "widht": 1}), "no argument 'widht'"),
        (NetOrigin("isresnext_tiny", {"num_classes": [4], "width": 13}), "cannot be divided"),
        (NetOrigin("isresnext_tiny", {"num_classes": [4], "width": "wide"}), "cannot be built"),
        (NetOrigin("isresnext_tiny", {}), "cannot be built"),
        (NetOrigin("isresnext_tiny", {"num_classes": [4]}), r"1 input channels.*|3 input channels"),
        (
            NetOrigin("resnext_tiny", {"num_classes": [4], "in_channels": 1}),
            "1 stages and its manifest says 3",
        ),
        (NetOrigin("isresnext_tiny", {"num_classes": [4]}, (1, 2, 4)), "cannot be built"),
        (
            NetOrigin("isresnext_tiny", {"num_classes": [4], "in_channels": 1, "width": 24}),
            "has shape|does not belong to this net",
        ),
    ],
)
def test_a_net_that_cannot_be_what_was_saved_is_refused(saved: Path, origin: NetOrigin, cause: str) -> None:
    replace(Manifest.read(saved), net=origin).write(saved)
    with pytest.raises(BundleError, match=cause) as caught:
        Bundle.load(saved)
    assert str(saved) in str(caught.value)


def test_a_manifest_that_lists_no_shards_is_refused(saved: Path) -> None:
    replace(Manifest.read(saved), files={}).write(saved)
    with pytest.raises(BundleError, match=rf"does not list {SHARDS[0]}"):
        Bundle.load(saved)


def test_other_paths_are_no_bundles(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        Bundle.load(tmp_path / "nothing")
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.load(tmp_path)


# --- saving -------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_error_in_the_middle_leaves_the_old_bundle_as_it_was(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(saved.parent)
    written: list[Path] = []

    def disk_full(path: Path, data: bytes) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        Path(path).write_bytes(data)

    monkeypatch.setattr(folder_module, "write_bytes", disk_full)
    with pytest.raises(BundleError, match=r"No space left on device\); what was there is unchanged"):
        make_bundle(val_accuracies=(0.1, 0.2, 0.3)).save(saved, overwrite=True)
    assert len(written) == 2
    assert contents(saved.parent) == before


def test_a_bundle_takes_the_place_of_another_one_only_when_asked_to(saved: Path) -> None:
    before = contents(saved)
    with pytest.raises(BundleError, match=r"holds a bundle already: .*overwrite=True"):
        make_bundle(levels=True).save(saved)
    assert contents(saved) == before
    own = Bundle.load(saved)
    own.save(saved)  # what it was loaded from is its own,
    own.save(saved)
    make_bundle(levels=True).save(saved, overwrite=True)
    with pytest.raises(BundleError, match="holds a bundle already"):  # until somebody else has replaced it
        own.save(saved)
    assert Bundle.load(saved).net.num_classes == (3, 2)
    assert not (saved / "costs").exists()
    assert [p.name for p in saved.parent.iterdir()] == ["bundle"]


def test_saving_never_deletes_what_is_not_a_bundle(saved: Path, tmp_path: Path) -> None:
    bundle = make_bundle()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"x")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "bundle.json").write_text('{"files": {}}')
    (tmp_path / "file").write_text("x")
    for name in ("photos", "web", "file"):
        before = contents(tmp_path)
        with pytest.raises(BundleError, match=f"{name} exists and is not a bundle: choose another folder"):
            bundle.save(tmp_path / name, overwrite=True)
        assert contents(tmp_path) == before
    (saved / "costs2" / "my notes.txt").write_text("x")
    with pytest.raises(BundleError, match=r"my notes\.txt is not the bundle's and would be lost"):
        bundle.save(saved)
    assert (saved / "costs2" / "my notes.txt").exists()


def test_an_empty_folder_a_new_one_and_a_link_can_be_saved_to(saved: Path, tmp_path: Path) -> None:
    bundle = make_bundle(levels=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(saved)
    for name in ("empty", "new/and/deep", "link"):
        assert bundle.save(tmp_path / name, overwrite=True) == tmp_path / name
        assert Bundle.load(tmp_path / name).net.num_classes == (3, 2)
    assert (tmp_path / "link").is_symlink()


def test_a_folder_that_cannot_be_written_is_an_error_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match=r"cannot be written .*: make room, or choose another folder"):
        make_bundle().save(tmp_path / "file" / "bundle")


def by_hand(**options: Any) -> ISResNeXt:
    options = {"slices": (1, 1), "width": 8, "branch_width": 2, "blocks": (1,), "in_channels": 1, **options}
    return ISResNeXt((4,), **options)


class Renamed(ISResNeXt):
    """The same tensors under another class."""


def test_a_net_built_by_hand_is_saved_and_loaded_into_one_built_alike(tmp_path: Path) -> None:
    net = randomise(by_hand()).eval()
    folder = Bundle.create(net, class_names=[list("abcd")], preprocessing=GREY).save(tmp_path / "b")
    assert "load(PATH, net=NET)" in (folder / "bundle.json").read_text()
    assert 'load("PATH OF THIS FOLDER", net=NET)' in (folder / "README.md").read_text()
    with pytest.raises(BundleError, match=r"built by hand.*load\(PATH, net=NET\).*import MODULE"):
        Bundle.load(folder)
    mine = by_hand()
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    loaded = Bundle.load(folder, net=mine)
    assert_same_weights(loaded.net, net)
    assert loaded.net is not mine
    assert all(torch.equal(tensor, before[name]) for name, tensor in mine.state_dict().items())
    first = Bundle.load(folder, net=mine, stages=1)
    assert_same_weights(first.net, net.keep((1,)))
    first.save(tmp_path / "first")
    assert_same_weights(Bundle.load(tmp_path / "first", net=by_hand().keep((1,))).net, net.keep((1,)))
    assert_same_weights(loaded.keep((2,)).net, net.keep((2,)))
    loaded.save(folder)
    again = Bundle.load(folder, net=net)
    assert_same_weights(again.net, net)


def test_another_net_than_the_one_that_was_saved_is_refused_with_what_differs(tmp_path: Path) -> None:
    net = by_hand()
    folder = Bundle.create(net, class_names=[list("abcd")], preprocessing=GREY).save(tmp_path / "b")
    renamed = Renamed((4,), slices=(1, 1), width=8, branch_width=2, blocks=(1,), in_channels=1)
    for other, cause in (
        (by_hand(width=16), "its tensors have other names, shapes or dtypes"),
        (by_hand().half(), "its tensors have other names, shapes or dtypes"),
        (renamed, "its class is Renamed and ISResNeXt was saved"),
        (by_hand().keep((1,)), "its stages use other parts"),
    ):
        with pytest.raises(BundleError, match=f"not built as the one that was saved.*{cause}"):
            Bundle.load(folder, net=other)
    with pytest.raises(TypeError, match="net must be AnytimeNet"):
        Bundle.load(folder, net=nn.Linear(1, 1))  # type: ignore[arg-type]
    registered = make_bundle().save(tmp_path / "registered")
    with pytest.raises(ValueError, match="leave out net"):
        Bundle.load(registered, net=net)


def test_weights_in_part_of_the_net_in_another_precision_are_refused(saved: Path, tmp_path: Path) -> None:
    tensors = load_torch((saved / SHARDS[1]).read_bytes())
    half = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    forge(saved, SHARDS[1], save_torch(half))
    with pytest.raises(BundleError, match=r"holds both in one dtype|different dtypes"):
        Bundle.load(saved)
    whole = {name: t.long() if t.is_floating_point() else t for name, t in tensors.items()}
    forge(saved, SHARDS[1], save_torch(whole))
    with pytest.raises(BundleError, match=r"is int64 and this net holds float32 there"):
        Bundle.load(saved)
    counted = {name: t if t.is_floating_point() else t.float() for name, t in tensors.items()}
    forge(saved, SHARDS[1], save_torch(counted))
    with pytest.raises(BundleError, match=r"is float32 and this net holds int64 there"):
        Bundle.load(saved)
    mixed = make_bundle()
    mixed.net.heads[1].half()  # type: ignore[index]
    with pytest.raises(BundleError, match="convert the whole net"):
        mixed.save(tmp_path / "mixed")


def test_a_shard_that_claims_more_than_its_weights_is_not_read(saved: Path) -> None:
    manifest = Manifest.read(saved)
    size = 10 * 2**30
    os.truncate(saved / SHARDS[0], size)
    record = replace(manifest.files[SHARDS[0]], bytes=size)
    replace(manifest, files={**manifest.files, SHARDS[0]: record}).write(saved)
    with pytest.raises(BundleError, match=f"listed with {size} bytes, and the weights .* take no more"):
        Bundle.load(saved)


@pytest.mark.parametrize("name", TINY)
def test_a_bundle_can_be_copied_and_pickled(name: str) -> None:
    bundle = make_bundle(name)
    x = torch.randn(1, 1, 8, 8) if name != "fcn_exits_tiny" else None
    for twin in (copy.deepcopy(bundle), pickle.loads(pickle.dumps(bundle))):
        assert twin.manifest == bundle.manifest
        assert_same_weights(twin.net, bundle.net)
        if x is not None:
            assert twin.predict(x).label == bundle.predict(x).label


def test_what_a_copy_measures_is_its_own() -> None:
    bundle = make_bundle()
    twin = copy.copy(bundle)
    twin.add_cost_table(cost_table(3))
    assert len(twin.cost_tables) == 1
    assert not bundle.cost_tables


def test_a_bundle_goes_to_a_process_of_its_own(saved: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(saved)
    image = torch.zeros(1, 8, 8)
    answer = bundle.predict(image)
    (tmp_path / "bundle.pickle").write_bytes(pickle.dumps((bundle, image)))
    code = (
        "import pickle, pathlib\n"
        f"bundle, image = pickle.loads(pathlib.Path({str(tmp_path / 'bundle.pickle')!r}).read_bytes())\n"
        "print(bundle.predict(image).label)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == answer.label


class Forgetful(ISResNeXt):
    """Its parts leave out the last head."""

    def parts(self) -> Any:
        return [part for part in super().parts() if "heads.2" not in part.name]


class Unsaved(ISResNeXt):
    """It has a buffer that no state_dict holds."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register_buffer("scale", torch.ones(1), persistent=False)


@pytest.mark.parametrize(
    ("kind", "cause"), [(Forgetful, "do not cover heads.2"), (Unsaved, "scale is not in")]
)
def test_a_net_that_would_lose_weights_is_not_saved(
    tmp_path: Path, kind: type[ISResNeXt], cause: str
) -> None:
    model = create_net("isresnext_tiny", num_classes=4, in_channels=1)
    net = kind((4,), slices=(1, 1, 1), width=12, branch_width=2, blocks=(1, 1, 1), in_channels=1)
    net.origin = model.origin
    good = Bundle.create(model, class_names=[list("abcd")], preprocessing=GREY)
    with pytest.raises(BundleError, match=cause):
        Bundle(net, good.manifest).save(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_added_files_are_kept_and_carried_over(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"PNG")
    extra: dict[str, bytes | Path | str] = {"curve.png": tmp_path / "picture", "more/report.json": b"{}"}
    make_bundle().save(tmp_path / "one", extra_files=extra)
    assert "](curve.png)" in (tmp_path / "one" / "README.md").read_text()
    loaded = Bundle.load(tmp_path / "one")
    loaded.add_cost_table(cost_table(3))
    loaded.save(tmp_path / "one")  # as `profile` does
    loaded.save(tmp_path / "two", extra_files={"more/report.json": b"[]"})
    assert (tmp_path / "one" / "more" / "report.json").read_bytes() == b"{}"
    assert (tmp_path / "two" / "more" / "report.json").read_bytes() == b"[]"
    for name in ("one", "two"):
        assert (tmp_path / name / "curve.png").read_bytes() == b"PNG"
        assert set(Bundle.load(tmp_path / name).cost_tables) == {KEY}
    Bundle.load(tmp_path / "one", stages=1).save(tmp_path / "first")
    assert not (tmp_path / "first" / "curve.png").exists()  # it showed other stages


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("bundle.json", "the bundle itself uses"),
        ("README.md", "the bundle itself uses"),
        (SHARDS[0], "the bundle itself uses"),
        ("costs/x.json", "the bundle itself uses"),
        ("costs2/x.json", "the bundle itself uses"),
        ("../x", "no name of a file inside a bundle"),
        ("x", "x cannot be added to the bundle: .*nowhere"),
    ],
)
def test_added_files_with_bad_names_are_refused(tmp_path: Path, name: str, cause: str) -> None:
    with pytest.raises(BundleError, match=cause):
        make_bundle().save(tmp_path / "b", extra_files={name: tmp_path / "nowhere"})
    assert list(tmp_path.iterdir()) == []


def test_the_card_shows_the_curve_and_its_code_runs(saved: Path, tmp_path: Path) -> None:
    card = (saved / "README.md").read_text()
    manifest = Manifest.read(saved)
    for record, median in zip(manifest.stages, ("1.00", "2.00", "3.00"), strict=True):
        assert f"| {record.stage} | {record.macs:,} | {record.params:,} | " in card
        assert f"{100 * (record.val_accuracy or 0):.2f} % | {median} ms |" in card
    assert '"seed": 3' in card
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.png")
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert len(code.split("\n\n")) == 2
    assert len([line for line in code.splitlines() if line]) == 3
    code = code.replace("PATH OF THIS FOLDER", str(saved)).replace("IMAGE.png", str(tmp_path / "x.png"))
    exec(code, {"print": lambda label: print_checked(label)})


def print_checked(label: str) -> None:
    assert label in ("a", "b", "c", "d")


def test_names_cannot_break_the_card(tmp_path: Path) -> None:
    net = create_net("isresnext_tiny", num_classes=2, in_channels=1)
    names = [["a|b\n# c", "`d`"]]
    bundle = Bundle.create(net, class_names=names, preprocessing=GREY, provenance={"note": "```\n# x"})
    bundle.save(tmp_path / "b")
    card = (tmp_path / "b" / "README.md").read_text()
    assert r"a\|b \# c, \`d\`." in card
    assert "````json" in card


# --- cost tables --------------------------------------------------------------------------------------


def test_cost_tables_come_back_and_follow_the_stages(saved: Path) -> None:
    assert Bundle.load(saved).cost_tables == {KEY: cost_table(3)}
    assert Bundle.load(saved, stages=2).cost_tables == {KEY: cost_table(2)}
    kept = Bundle.load(saved).keep((1, 3)).cost_tables[KEY]
    assert {key: entry.median_ms for key, entry in kept.entries.items() if key[2] == 1} == {
        (0, 1, 1): 1.0,
        (0, 2, 1): 3.0,
        (1, 2, 1): 13.0,
    }


def test_tables_of_four_backends_and_two_machines_live_beside_each_other(saved: Path) -> None:
    bundle = Bundle.load(saved)
    others = [
        replace(cost_table(3), backend="onnxruntime"),
        replace(cost_table(3), threads=2),
        replace(cost_table(3), dtype="bfloat16"),
        replace(cost_table(3), machine={"id": "elsewhere"}),
        replace(cost_table(3), device="cuda"),
    ]
    for table in others:
        bundle.add_cost_table(table)
    bundle.save(saved)
    assert sorted(Bundle.load(saved).cost_tables) == sorted([KEY, *(table.key for table in others)])
    bundle.add_cost_table(replace(cost_table(3), device="cuda", state_bytes=(8, 16, 0)))  # measured again
    assert len(bundle.cost_tables) == 6
    assert bundle.cost_tables["12345678-cuda-eager-1-float32"].state_bytes == (8, 16, 0)


def test_bytes_of_states_decode_and_preprocessing_come_back_and_follow_the_stages(saved: Path) -> None:
    bundle = Bundle.load(saved)
    decode, preprocess = Latency(1, 2, 3, repeats=9), Latency(4, 5, 6, repeats=9)
    known = replace(cost_table(3), state_bytes=(800, 400, 0), decode=decode, preprocess=preprocess)
    bundle.add_cost_table(known)
    bundle.save(saved)
    assert Bundle.load(saved).cost_tables == {KEY: known}
    kept = Bundle.load(saved, stages=2).cost_tables[KEY]
    assert (kept.state_bytes, kept.decode, kept.preprocess) == ((800, 0), decode, preprocess)
    assert bundle.keep((1, 3)).cost_tables[KEY].state_bytes == (800, 0)
    with pytest.raises(BundleError, match="states of 4 stages"):
        bundle.add_cost_table(replace(known, state_bytes=(800, 400, 200, 0)))


def test_a_table_of_format_1_is_read_and_saved_in_format_2(saved: Path, tmp_path: Path) -> None:
    manifest, old = Manifest.read(saved), cost_table(3).to_json()
    for name in ("backend", "state_bytes", "decode", "preprocess"):
        del old[name]
    data = json.dumps({**old, "format": 1}).encode()
    (saved / TABLE).unlink()
    (saved / "costs").mkdir()
    (saved / "costs" / "cpu.json").write_bytes(data)
    files = {name: record for name, record in manifest.files.items() if name != TABLE}
    replace(manifest, files={**files, "costs/cpu.json": record_of(data)}).write(saved)
    bundle = Bundle.load(saved)
    assert bundle.cost_tables == {KEY: cost_table(3)}
    bundle.save(tmp_path / "again")
    assert [file.name for file in (tmp_path / "again").glob("costs*/*")] == [f"{KEY}.json"]
    assert Bundle.load(tmp_path / "again").cost_tables == bundle.cost_tables


def test_of_two_tables_with_one_key_the_newer_format_stands(saved: Path) -> None:
    manifest = Manifest.read(saved)
    data = json.dumps(replace(cost_table(3), state_bytes=(9, 9, 0)).to_json()).encode()
    (saved / "costs").mkdir()
    (saved / "costs" / "cpu.json").write_bytes(data)
    replace(manifest, files={**manifest.files, "costs/cpu.json": record_of(data)}).write(saved)
    assert Bundle.load(saved).cost_tables == {KEY: cost_table(3)}


def test_a_table_without_an_entry_left_is_left_out(saved: Path) -> None:
    bundle = Bundle.load(saved)
    entries = {(1, 2, 1): Latency(1, 1, 1, repeats=1)}
    bundle.add_cost_table(replace(cost_table(3), entries=entries))
    assert bundle.keep((2, 3)).cost_tables == {}


def test_tables_of_other_nets_are_refused(saved: Path) -> None:
    bundle = Bundle.load(saved)
    with pytest.raises(BundleError, match=r"inputs of \(1, 9, 8\).*profile the bundle again"):
        bundle.add_cost_table(cost_table(3, (1, 9, 8)))
    with pytest.raises(BundleError, match="goes to stage 4 and this net has 3"):
        bundle.add_cost_table(cost_table(4))
    with pytest.raises(BundleError, match="goes to stage 4"):
        Bundle(bundle.net, bundle.manifest, {"cpu": cost_table(4)})
    assert set(bundle.cost_tables) == {KEY}


def test_a_machine_stamp_that_is_not_json_is_an_error(tmp_path: Path) -> None:
    bundle = make_bundle()
    bundle.add_cost_table(replace(cost_table(3), machine={"id": "1", "cpu": object()}))
    with pytest.raises(BundleError, match="cost table of cpu cannot be written as JSON"):
        bundle.save(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


# --- predictions --------------------------------------------------------------------------------------


def image_and_input() -> tuple[np.ndarray, torch.Tensor]:
    """Pixels, and the same as the net reads them."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    return pixels, torch.from_numpy(GREY.standardise(GREY.decode(pixels)[None]))


@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize("name", [name for name in TINY if name != "fcn_exits_tiny"])  # a segmentation net
def test_a_prediction_is_the_softmax_of_forward(name: str, levels: bool) -> None:
    bundle = make_bundle(name, levels=levels)
    pixels, x = image_and_input()
    with torch.no_grad():
        outputs = bundle.net.eval()(x)
    for stage, output in enumerate(outputs, 1):
        got = bundle.predict(pixels, stage=stage)
        truth = [logits[0].double().softmax(0) for logits in output]
        ids = [int(p.argmax()) for p in truth]
        np.testing.assert_allclose(got.probabilities, truth[0].numpy(), rtol=1e-5, atol=1e-8)
        assert got.probabilities.dtype == np.float64
        assert abs(got.probabilities.sum() - 1) < 1e-12
        labels = tuple(names[i] for names, i in zip(bundle.manifest.class_names, ids, strict=True))
        assert (got.label, *got.coarser) == labels
        assert got.stage == stage
        assert got.macs == bundle.manifest.stages[stage - 1].macs
        assert not got.over_budget


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny"])
def test_each_stage_answers_on_the_level_that_was_selected_for_it(tmp_path: Path, name: str) -> None:
    bundle = make_bundle(name, levels=True)
    pixels, _ = image_and_input()
    fine = [bundle.predict(pixels, stage=stage) for stage in (1, 2, 3)]
    assert [answer.level for answer in fine] == [1, 1, 1]
    bundle.use_levels(LevelSelection((2, 2, 1), (0.9, 0.9, 0.8), 0.8))
    bundle.save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b")
    assert loaded.manifest.level_selection == bundle.manifest.level_selection
    for stage, before in enumerate(fine, 1):
        answer = loaded.predict(pixels, stage=stage)
        level = (2, 2, 1)[stage - 1]
        assert answer.level == level
        assert answer.label == answer.labels[level - 1] == before.labels[level - 1]
        assert answer.probability == pytest.approx(before.level_probabilities[level - 1].max())
        assert answer.fine_label == before.label
        np.testing.assert_allclose(answer.probabilities, before.probabilities, rtol=1e-6)
    assert "answers on level" in (tmp_path / "b" / "README.md").read_text()
    assert Bundle.load(tmp_path / "b", stages=2).predict(pixels, stage=2).level == 2
    assert loaded.keep([1, 3]).predict(pixels, stage=2).level == 1
    loaded.use_levels(None)
    assert loaded.predict(pixels, stage=1).level == 1


def test_levels_for_another_bundle_are_refused() -> None:
    with pytest.raises(BundleError, match="3 are needed, each from 1 to 2"):
        make_bundle(levels=True).use_levels(LevelSelection((3, 1, 1), (0.5,) * 3, 0.5))
    with pytest.raises(BundleError, match="each from 1 to 1"):
        make_bundle().use_levels(LevelSelection((2, 1, 1), (0.5,) * 3, 0.5))


def test_accuracies_of_every_level_are_kept(tmp_path: Path) -> None:
    rows = [(0.5, 0.75), (0.625, 0.875), (0.75, 1.0)]
    bundle = make_bundle(
        levels=True,
        val_accuracies=[row[0] for row in rows],
        coarser_val_accuracies=[row[1:] for row in rows],
    )
    bundle.save(tmp_path / "b")
    assert Bundle.load(tmp_path / "b").manifest.level_accuracies == tuple(rows)
    with pytest.raises(BundleError, match="2 validation accuracies, 3 stages"):
        make_bundle(levels=True, coarser_val_accuracies=[(0.5,)] * 2)


def test_every_form_of_an_image_gives_the_same_answer(tmp_path: Path) -> None:
    bundle = make_bundle()
    pixels, x = image_and_input()
    Image.fromarray(pixels).save(tmp_path / "x.png")
    forms = [
        tmp_path / "x.png",
        str(tmp_path / "x.png"),
        Image.fromarray(pixels),
        pixels,
        pixels[:, :, None],
        torch.from_numpy(pixels),
        torch.from_numpy(pixels)[None],
        torch.from_numpy(pixels)[None] / 255,
        x,
        x.double(),
        x.numpy().astype(np.float64),
        x.numpy().astype(">f4"),
        x.requires_grad_(),
        np.broadcast_to(x.detach().numpy(), (1, 1, 8, 8)),  # read-only
    ]
    truth = bundle.predict(x).probabilities
    for form in forms:
        assert np.array_equal(bundle.predict(form).probabilities, truth)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_pixels_go_to_the_dtype_of_the_net(dtype: torch.dtype) -> None:
    bundle = make_bundle(dtype=dtype)
    pixels, x = image_and_input()
    with torch.no_grad():
        truth = bundle.net.eval()(x.to(dtype), [2])[0][0][0].double().softmax(0)
    atol = 1e-9 if dtype == torch.float64 else 0.05
    np.testing.assert_allclose(bundle.predict(pixels, stage=2).probabilities, truth.numpy(), atol=atol)


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (np.zeros((1, 1, 8, 9), np.float32), r"shape \(1, 1, 8, 9\): this net reads .*\(N, 1, 8, 8\)"),
        (np.zeros((8, 8), np.float32), r"shape \(8, 8\)"),
        (np.zeros((8, 8, 1), np.float32), r"uint8 array \(H, W, C\)"),
        (np.zeros((1, 8, 8), np.float32), r"uint8 array \(H, W, C\)"),
        (torch.zeros(2, 1, 8, 8), "a batch of 2: use predict_many"),
        (torch.zeros(1, 8, 8) - 0.5, "values in 0..1, got -0.5"),
        (torch.zeros(8, 8, 3), r"use .permute\(2, 0, 1\)"),
        (torch.zeros(1, 8, 8, dtype=torch.int64), "must be uint8"),
        (np.zeros((8, 8), np.int64), "must be uint8"),
        (np.zeros((8, 8), bool), "must be uint8"),
        (np.zeros((2, 8, 8, 1), np.uint8), "shape"),
        (torch.full((1, 1, 8, 8), float("nan")), "the input holds NaN: 64 of its 64 numbers"),
        ([[0.0]], "not a list"),
        (None, "not a NoneType"),
        (b"x", "not a bytes"),
        ("nowhere.png", r"nowhere\.png does not exist"),
    ],
)
def test_what_is_no_image_is_refused_with_a_cure(image: Any, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        make_bundle().predict(image)


def test_budgets_choose_the_best_validated_stage_that_fits() -> None:
    bundle = make_bundle(val_accuracies=(0.5, 0.9, 0.7))
    _, x = image_and_input()
    macs = [record.macs for record in bundle.manifest.stages]
    assert bundle.predict(x).stage == 2
    assert bundle.predict(x, budget_macs=macs[2]).stage == 2
    assert bundle.predict(x, budget_macs=macs[1]).stage == 2
    assert bundle.predict(x, budget_macs=macs[1] - 1).stage == 1
    assert bundle.predict(x, budget_macs=macs[0]).over_budget is False
    too_little = bundle.predict(x, budget_macs=macs[0] - 1)
    assert (too_little.stage, too_little.over_budget, too_little.macs) == (1, True, macs[0])
    assert make_bundle().predict(x).stage == 3


@pytest.mark.parametrize("stage", [0, 4, -1, 1.0, True, "1"])
def test_a_stage_that_does_not_exist_is_refused(stage: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"stage must be (from 1 to 3|a whole number), not"):
        make_bundle().predict(torch.zeros(1, 8, 8), stage=stage)


def test_a_stage_and_a_budget_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="stage=K or budget_macs, not both"):
        make_bundle().predict(torch.zeros(1, 8, 8), stage=1, budget_macs=1)


def test_elapsed_time_runs_from_the_call_to_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5.0]

    def spend(seconds: float, result: Any) -> Any:
        now[0] += seconds
        return result

    decode = Preprocessing.decode
    monkeypatch.setattr(Preprocessing, "decode", lambda self, image: spend(0.25, decode(self, image)))
    bundle = make_bundle(clock=lambda: now[0])
    run = bundle.backend.run
    monkeypatch.setattr(bundle.backend, "run", lambda *given: spend(0.5, run(*given)))
    assert bundle.predict(image_and_input()[0], stage=2).elapsed_ms == 750


def test_a_sub_network_is_built_once_even_by_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anytimenet.runtime.backends.preferred.is_there", lambda: False)
    bundle = make_bundle()
    _, x = image_and_input()
    built = []
    segment = type(bundle.net)._segment

    def counting(net: AnytimeNet, *args: int, **options: bool) -> Segment:
        built.append(args)
        return segment(net, *args, **options)

    monkeypatch.setattr(type(bundle.net), "_segment", counting)
    answers: list[Any] = []
    start = threading.Barrier(8)

    def work(index: int) -> None:
        start.wait()
        answers.append((index % 3, bundle.predict(x, stage=index % 3 + 1).probabilities))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(built) == [(0, 1), (0, 2), (0, 3)]
    assert len(answers) == 8
    for stage, probabilities in answers:
        assert np.array_equal(probabilities, bundle.predict(x, stage=stage + 1).probabilities)


def test_sub_networks_share_the_weights_of_one_snapshot() -> None:
    bundle = make_bundle()
    weights = [
        {parameter.untyped_storage().data_ptr() for parameter in bundle.segment_for(stage).parameters()}
        for stage in (1, 2, 3)
    ]
    assert weights[0] & weights[1] & weights[2]
    assert not weights[0] & {parameter.untyped_storage().data_ptr() for parameter in bundle.net.parameters()}


def test_parts_of_a_bundle_must_belong_together() -> None:
    manifest = make_bundle().manifest
    for net, what in (
        (create_net("isresnext_tiny", 4, in_channels=3), "input channels"),
        (create_net("isresnext_tiny", 5, in_channels=1), "classes"),
        (create_net("resnext_tiny", 4, in_channels=1), "stages"),
    ):
        with pytest.raises(BundleError, match=f"{what} and its manifest says .*they must agree"):
            Bundle(net, manifest)
    with pytest.raises(BundleError, match="2 validation accuracies, 3 stages: one each"):
        make_bundle(val_accuracies=(0.1, 0.2))


# --- format versions ------------------------------------------------------------------------------------


def test_the_committed_bundle_of_format_version_1_still_gives_the_same_answers() -> None:
    assert json.loads((V1 / "bundle.json").read_text())["format_version"] == 1
    truth = json.loads(V1.with_suffix(".json").read_text())["logits"]
    image = torch.arange(64, dtype=torch.float32).mul(37).remainder(64).div(32).sub(1).reshape(1, 1, 8, 8)
    for stages in (1, 2, 3):
        bundle = Bundle.load(V1, stages=stages)
        for stage, ((logits,), expected) in enumerate(zip(bundle.net(image), truth, strict=False), 1):
            torch.testing.assert_close(logits[0], torch.tensor(expected), rtol=1e-5, atol=1e-4)
            assert bundle.predict(image, stage=stage).label == str(int(np.argmax(expected)))
        assert bundle.cost_tables["00000000-cpu-eager-1-float32"].latency(0, 1).median_ms == 1.0
    assert bundle.predict(image).stage == 2
    assert {int(t) for n, t in bundle.net.state_dict().items() if n.endswith("num_batches_tracked")} == {7}


def test_the_committed_bundle_of_format_version_2_still_answers_on_its_levels() -> None:
    manifest = Manifest.read(V2)
    assert json.loads((V2 / "bundle.json").read_text())["format_version"] == 2
    assert manifest.level_accuracies == ((0.5, 0.75), (0.75, 0.875), (0.875, 0.9375))
    assert manifest.level_selection == LevelSelection((2, 1, 1), (0.75, 0.75, 0.875), 0.75)
    truth = json.loads(V2.with_suffix(".json").read_text())["logits"]
    image = torch.arange(64, dtype=torch.float32).mul(37).remainder(64).div(32).sub(1).reshape(1, 1, 8, 8)
    for stages in (1, 2, 3):
        bundle = Bundle.load(V2, stages=stages)
        for stage, (output, levels) in enumerate(zip(bundle.net(image), truth, strict=False), 1):
            for logits, expected in zip(output, levels, strict=True):
                torch.testing.assert_close(logits[0], torch.tensor(expected), rtol=1e-5, atol=1e-4)
            best = [int(np.argmax(expected)) for expected in levels]
            answer = bundle.predict(image, stage=stage)
            assert answer.labels == (str(best[0]), ("round", "straight")[best[1]])
            assert answer.level == (2, 1, 1)[stage - 1]


@pytest.mark.parametrize("version", [V1, V2])
def test_a_bundle_of_an_earlier_version_is_saved_in_the_present_one(version: Path, tmp_path: Path) -> None:
    before = Bundle.load(version)
    before.save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "bundle.json").read_text())["format_version"] == 3
    after = Bundle.load(tmp_path / "again")
    assert replace(after.manifest, files={}) == replace(before.manifest, files={})
    assert_same_weights(after.net, before.net)


def test_the_committed_bundle_of_format_version_3_tells_what_it_told() -> None:
    manifest = Manifest.read(V3)
    assert json.loads((V3 / "bundle.json").read_text())["format_version"] == 3
    assert manifest.thresholds == Thresholds("max_probability", (0.9, 0.75, None), {"target_accuracy": 0.7})
    assert manifest.extensions == {"example.org/colour": {"favourite": "blue"}}
    assert manifest.task == TaskRecord("hierarchical")
    assert manifest.net is not None
    assert manifest.net.form == 1
    assert [record.uncounted_operators for record in manifest.stages] == [(), (), ("example.blur",)]
    truth = json.loads(V3.with_suffix(".json").read_text())["logits"]
    image = torch.arange(64, dtype=torch.float32).mul(37).remainder(64).div(32).sub(1).reshape(1, 1, 8, 8)
    for stages in (1, 3):
        bundle = Bundle.load(V3, stages=stages)
        for output, levels in zip(bundle.net(image), truth, strict=False):
            for logits, expected in zip(output, levels, strict=True):
                torch.testing.assert_close(logits[0], torch.tensor(expected), rtol=1e-5, atol=1e-4)
        assert bundle.manifest.extensions == manifest.extensions
    by_hand = V3.with_name("bundle-v3-by-hand")
    net = Bundle.load(by_hand, net=isresnext_by_hand()).net
    ((logits,),) = net(image, stages=(2,))
    expected = json.loads(V3.with_suffix(".json").read_text())["by_hand"]
    torch.testing.assert_close(logits[0], torch.tensor(expected), rtol=1e-5, atol=1e-4)


def isresnext_by_hand() -> ISResNeXt:
    return ISResNeXt((10,), slices=(1, 1), width=8, branch_width=2, blocks=(1,), in_channels=1)


@pytest.mark.parametrize("version", [V1, V2, V3, V3.with_name("bundle-v3-by-hand")])
def test_the_committed_bundle_is_small_and_whole(version: Path) -> None:
    manifest = Manifest.read(version)
    files = contents(version)
    assert set(files) == {*manifest.files, "bundle.json", "README.md"}
    assert sum(map(len, files.values())) < 60_000
    for name, record in manifest.files.items():
        assert record_of(files[name]) == record, f"{name} was changed"


def _wrapped(num_classes, width=4, frozen=False):
    layers = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, num_classes[0]),
    )
    return wrap(layers, ["1"], frozen=frozen, input_shape=(3, 8, 8))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_wrapped_net_is_saved_and_loaded_like_any_other(tmp_path, frozen):
    register_net("wrapped_for_test_bundle", input_shape=(3, 8, 8), summary="a wrapped module")(_wrapped)
    net = create_net("wrapped_for_test_bundle", num_classes=4, frozen=frozen).eval()
    bundle = Bundle.create(
        net,
        class_names=(("a", "b", "c", "d"),),
        preprocessing=Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3),
    )
    bundle.save(tmp_path / "wrapped")
    x = torch.randn(2, 3, 8, 8)
    for stages in (1, 2):
        loaded = Bundle.load(tmp_path / "wrapped", stages=stages).net.eval()
        for (ours,), (theirs,) in zip(loaded(x), net(x), strict=False):
            assert torch.equal(ours, theirs)


def test_statistics_that_are_estimated_after_a_first_answer_are_used():
    net = create_net("slimmable_tiny", 4, normalisation="recalibrate").eval()
    counters = {name: one for name, one in net.named_buffers() if name.endswith("num_batches_tracked")}
    for name, counter in counters.items():
        counter.fill_("stage1" in name)
    assert net.stages_without_statistics() == (2, 3)
    bundle = Bundle.create(net, class_names=[list("abcd")], preprocessing=RGB)
    image = np.zeros((8, 8, 3), np.uint8)
    assert bundle.predict(image, stage=1).stage == 1
    with pytest.raises(StatisticsMissingError):
        bundle.predict(image, stage=3)
    for counter in counters.values():
        counter.fill_(1)
    assert bundle.predict(image, stage=3).stage == 3
    assert bundle.predict(image, stage=1).stage == 1


def test_a_manifest_has_the_costs_that_it_was_made_with():
    bundle = Bundle.create(
        create_net("densenet_tiny", 2, in_channels=1), class_names=[["a", "b"]], preprocessing=GREY
    )
    assert counted_costs(bundle.manifest) == bundle.stage_costs()
    marked = [replace(cost, uncounted_operators=("example.blur",)) for cost in bundle.stage_costs()]
    bundle = Bundle.create(bundle.net, class_names=[["a", "b"]], preprocessing=GREY, costs=marked)
    assert counted_costs(bundle.manifest) == marked
    assert counted_costs(replace(bundle.manifest, extensions={})) is None
