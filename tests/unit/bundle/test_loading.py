"""A bundle comes from a URL whole, in part or while it arrives, and answers as one that was there."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.core.delivery.servers import Handler, Server, serving

import anytimenet as an
import anytimenet.bundle.folder as folder_module
from anytimenet.bundle import Bundle, load
from anytimenet.core.errors import BundleError, DeliveryError, UnreachableError
from anytimenet.core.files.writing import sha256
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.nets import create_net
from anytimenet.runtime import ProgressiveModel, fetch

V3 = Path(__file__).parents[2] / "data" / "bundle-v3"
SHARDS = [f"model-0000{k}-of-00003.safetensors" for k in (1, 2, 3)]
IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8)
FAMILIES = ("isresnext_tiny", "iresnext_tiny", "ranet_tiny", "slimmable_tiny", "nestednet_layer_tiny")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("ANYTIMENET_CACHE", str(tmp_path / "cache"))
    files = {path.name: path.read_bytes() for path in V3.iterdir()}
    with serving(files, listed=False) as server:
        yield server


def asked(server: Server) -> list[str]:
    return [path for path, _ in server.asked]


def assert_same(one: Bundle, other: Bundle) -> None:
    assert one.manifest == other.manifest
    mine, theirs = one.net.state_dict(), other.net.state_dict()
    assert list(mine) == list(theirs)
    for name, tensor in mine.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name


def test_a_url_is_loaded_as_its_folder_is(server):
    assert_same(an.load(server.url), an.load(V3))
    assert_same(
        an.load(f"{server.url}/bundle.json#sha256={sha256(server.files['bundle.json'])}"), an.load(V3)
    )


def test_the_first_stages_of_a_url_are_no_more_than_their_files(server):
    assert_same(an.load(server.url, stages=2), an.load(V3, stages=2))
    assert asked(server) == ["bundle.json", *SHARDS[:2]]
    for stages in (0, 4):
        with pytest.raises(ValueError, match="stages must be from 1 to 3"):
            an.load(server.url, stages=stages)
    assert len(asked(server)) == 5


def test_a_tampered_manifest_is_found_even_where_its_files_are_right(server):
    value = json.loads(server.files["bundle.json"])
    value["class_names"][0][0] = "changed"
    server.files["bundle.json"] = json.dumps(value).encode()
    with pytest.raises(BundleError, match="its digest does not match"):
        an.load(server.url)
    assert asked(server) == ["bundle.json"]


def test_provenance_with_urls_in_it_makes_nobody_fetch(server):
    bundle = an.load(V3)
    assert "http" not in json.dumps(bundle.manifest.provenance)
    with pytest.raises(BundleError, match=r"is a URL, and here a folder is needed: anytimenet\.load"):
        Bundle.load(server.url)  # what recipes, teachers and `init` call
    assert asked(server) == []


def test_a_wrong_shard_is_named_and_never_loaded(server):
    server.files[SHARDS[1]] = bytes(len(server.files[SHARDS[1]]))
    with pytest.raises(DeliveryError, match=rf"{SHARDS[1]} is not the file that bundle\.json lists"):
        an.load(server.url)


def test_an_exported_folder_is_told_from_a_bundle(server, tmp_path):
    server.files = {"manifest.json": b'{"files": {}}'}
    with pytest.raises(BundleError, match=r"an exported net: anytimenet\.runtime\.load"):
        an.load(server.url)
    (tmp_path / "manifest.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"an exported net, not a bundle: anytimenet\.runtime\.load"):
        an.load(tmp_path)


def test_fetch_gives_the_folder(server):
    folder = fetch(server.url, stages=1)
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", SHARDS[0]]
    assert sha256((folder / "bundle.json").read_bytes()) == folder.name


@pytest.mark.parametrize("name", FAMILIES)
def test_an_upgrade_gives_what_loading_gives_and_reads_no_shard_twice(name, tmp_path, monkeypatch):
    net = create_net(name, num_classes=3).eval()
    classes = [[f"level{i} {j}" for j in range(n)] for i, n in enumerate(net.num_classes)]
    side = max(32, *net.input_spec.smallest_shape[1:])
    preprocessing = Preprocessing(side, side, 3, mean=(0.5,) * 3, std=(0.5,) * 3)
    Bundle.create(net, class_names=classes, preprocessing=preprocessing).save(tmp_path / "net")
    read: list[str] = []
    real = folder_module.read_listed

    def noted(folder: Path, file: str, record: Any) -> Any:
        read.append(file)
        return real(folder, file, record)

    monkeypatch.setattr(folder_module, "read_listed", noted)
    bundle = Bundle.load(tmp_path / "net", stages=1)
    for stages in {2, net.num_stages} - {1}:
        if stages > net.num_stages:
            continue
        before = {key: tensor.clone() for key, tensor in bundle.net.state_dict().items()}
        larger = bundle.upgraded(stages)
        shards = [file for file in read if file.startswith("model-")]
        assert shards == sorted(set(shards))
        assert len(shards) == stages
        assert_same(larger, Bundle.load(tmp_path / "net", stages=stages))
        del read[read.index(shards[-1]) + 1 :]
        for tensor in larger.net.state_dict().values():
            tensor.zero_()  # the two share no weights
        assert all(torch.equal(before[key], tensor) for key, tensor in bundle.net.state_dict().items())
        bundle = bundle.upgraded(stages)
        del read[read.index(shards[-1]) + 1 :]


def test_an_upgrade_of_another_folder_is_refused(tmp_path):
    shutil.copytree(V3, tmp_path / "net")
    bundle = Bundle.load(tmp_path / "net", stages=1)
    with pytest.raises(ValueError, match="stages"):
        bundle.upgraded(4)
    with pytest.raises(ValueError, match=r"stages must be at least 2|stages must be from"):
        Bundle.load(tmp_path / "net", stages=2).upgraded(1)
    os.utime(tmp_path / "net" / "bundle.json", ns=(1, 1))
    with pytest.raises(BundleError, match="was replaced since"):
        bundle.upgraded(2)
    with pytest.raises(ValueError, match="was not loaded from a folder"):
        bundle.keep([1]).upgraded(1)


class Gate:
    """Lets each file out when it is told to."""

    def __init__(self, server: Server) -> None:
        self.opened = {name: threading.Event() for name in SHARDS}
        for name in SHARDS:
            server.faults[name] = self.waiting(name)

    def waiting(self, name: str) -> Callable[[Handler, bytes], None]:
        def fault(handler: Handler, data: bytes) -> None:
            handler.head(200, len(data))
            handler.wfile.write(data[:100])
            while not self.opened[name].wait(0.01):
                if handler.server.ended.is_set():
                    return
            handler.wfile.write(data[100:])

        return fault

    def open(self, stage: int) -> None:
        self.opened[SHARDS[stage - 1]].set()


def test_a_net_answers_while_the_rest_arrives(server):
    gate = Gate(server)
    with an.load(server.url, progressive=True) as arriving:
        assert (arriving.num_stages, arriving.stages_ready, arriving.complete) == (3, 0, False)
        with pytest.raises(DeliveryError, match=r"no stage has arrived yet .*wait\(1\)"):
            arriving.model  # noqa: B018
        with pytest.raises(DeliveryError, match=r"stage 1 has not arrived in 0\.01 s: no stage answers yet"):
            arriving.wait(1, timeout_s=0.01)
        held: list[Bundle] = []
        for stage in (1, 2, 3):
            gate.open(stage)
            bundle = arriving.wait(stage, timeout_s=30)
            assert arriving.stages_ready == bundle.num_stages == stage
            assert_same(bundle, load(V3, stages=stage))
            assert bundle.predict(IMAGE, stage=stage).stage == stage
            held.append(bundle)
        assert arriving.wait(timeout_s=30) is held[-1] is arriving.model
        assert arriving.complete
        assert [bundle.num_stages for bundle in held] == [1, 2, 3], "who holds one keeps it"
    assert arriving.model is held[-1]


def test_a_wrong_file_stops_the_rest_but_not_the_answers(server):
    whole = server.files[SHARDS[1]]
    server.files[SHARDS[1]] = bytes(len(whole))
    with an.load(server.url, progressive=True) as arriving:
        with pytest.raises(DeliveryError, match=r"is not the file that bundle\.json lists"):
            arriving.wait(3, timeout_s=30)
        assert isinstance(arriving.error, DeliveryError)
        assert arriving.stages_ready == 1
        assert arriving.model.predict(IMAGE).stage == 1
        server.files[SHARDS[1]] = whole
        arriving.retry()
        assert arriving.wait(timeout_s=30).num_stages == 3
        assert arriving.error is None
        arriving.retry()
    assert asked(server).count(SHARDS[0]) == 1


def test_what_is_in_the_cache_answers_at_once(server):
    fetch(server.url, stages=2)
    gate = Gate(server)
    with an.load(server.url, progressive=True) as arriving:
        assert arriving.wait(1, timeout_s=30).num_stages == 2
        gate.open(3)
        arriving.wait(timeout_s=30)


def test_closing_while_a_file_arrives_loses_nothing(server):
    gate = Gate(server)
    gate.open(1)
    arriving = an.load(server.url, progressive=True)
    arriving.wait(1, timeout_s=30)
    arriving.close()
    with pytest.raises(DeliveryError, match="was closed before stage 2 had arrived: stages 1 to 1 answer"):
        arriving.wait(2)
    arriving.retry()
    assert arriving.model.num_stages == 1
    assert repr(arriving) == "ProgressiveModel(stages 1 to 1 of 3 are here)"
    server.faults.clear()
    server.asked.clear()
    with an.load(server.url, progressive=True) as arriving:
        arriving.wait(timeout_s=30)
    assert SHARDS[0] not in asked(server)


def test_some_stages_are_wanted_and_no_more_are_fetched(server):
    with an.load(server.url, stages=2, progressive=True) as arriving:
        assert arriving.wait(timeout_s=30).num_stages == 2
        assert arriving.num_stages == 2
        with pytest.raises(ValueError, match="stages"):
            arriving.wait(3)
    assert SHARDS[2] not in asked(server)
    with pytest.raises(ValueError, match="stages"):
        an.load(server.url, stages=4, progressive=True)


def test_a_url_that_does_not_answer_is_told_at_once(server):
    server.faults["bundle.json"] = lambda handler, data: handler.head(403, 0)
    with pytest.raises(DeliveryError, match="answers 403"):
        an.load(server.url, progressive=True)


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[tuple[Path, ProgressiveModel[Bundle]]]:
    """A folder that another program fills."""
    folder = tmp_path / "net"
    folder.mkdir()
    shutil.copy(V3 / "bundle.json", folder)
    with an.load(folder, progressive=True) as arriving:
        yield folder, arriving


def test_a_folder_that_fills_up_answers_with_what_is_there(filling):
    folder, arriving = filling
    for stage, name in enumerate(SHARDS, 1):
        data = (V3 / name).read_bytes()
        (folder / name).write_bytes(data[:1000])
        with pytest.raises(DeliveryError, match=f"stage {stage} has not arrived"):
            arriving.wait(stage, timeout_s=0.01)
        (folder / name).write_bytes(data)
        assert_same(arriving.wait(stage, timeout_s=30), load(V3, stages=stage))
    assert arriving.wait(timeout_s=30).num_stages == 3


def test_a_file_that_is_not_yet_what_it_will_be_is_looked_at_again(filling):
    folder, arriving = filling
    data = (V3 / SHARDS[0]).read_bytes()
    (folder / SHARDS[0]).write_bytes(bytes(len(data)))
    while arriving.error is None:
        with pytest.raises(DeliveryError, match=r"stage 1 has not arrived in 0\.05 s: no stage answers yet"):
            arriving.wait(1, timeout_s=0.05)
    with pytest.raises(DeliveryError, match=r"is not the file that bundle\.json lists"):
        arriving.wait(1, timeout_s=0.01)
    assert isinstance(arriving.error, BundleError)
    (folder / SHARDS[0]).write_bytes(data)
    assert arriving.wait(1, timeout_s=30).num_stages == 1
    assert arriving.error is None


def test_a_folder_without_a_manifest_is_refused_at_once(tmp_path):
    with pytest.raises(BundleError, match="is not a bundle"):
        an.load(tmp_path, progressive=True)


def test_a_file_that_the_manifest_does_not_list(server):
    value = json.loads(server.files["bundle.json"])
    del value["files"][SHARDS[2]]
    from anytimenet.core.manifest.versions import digest_of

    server.files["bundle.json"] = json.dumps({**value, "digest": digest_of(value)}).encode()
    for progressive in (True, False):
        with pytest.raises(BundleError, match=rf"the manifest does not list {SHARDS[2]}"):
            an.load(server.url, progressive=progressive)


def test_a_server_that_dies_is_no_end_of_answers(server, monkeypatch):
    """Tries and pauses are counted by `test_remote_folder`; here they are few and short."""
    from anytimenet.core.delivery.patience import Patience

    monkeypatch.setattr("anytimenet.core.delivery.client.Patience", lambda: Patience(tries=2, pause_s=0))
    server.faults[SHARDS[1]] = lambda handler, data: handler.head(503, 0)
    with an.load(server.url, progressive=True) as arriving:
        with pytest.raises(UnreachableError, match="answers 503"):
            arriving.wait(2, timeout_s=30)
        assert arriving.model.predict(IMAGE).stage == 1


def test_answers_are_whole_while_upgrades_happen(server):
    """Threads that predict all the time see one bundle after the other, and each answer is one bundle's."""
    gate = Gate(server)
    wanted = [load(V3, stages=k).predict(IMAGE, stage=k).probabilities for k in (1, 2, 3)]
    gate.open(1)
    with an.load(server.url, progressive=True) as arriving:
        arriving.wait(1, timeout_s=30)
        stop, bad, seen = threading.Event(), [], set()

        def predict() -> None:
            while not stop.is_set():
                bundle = arriving.model
                answer = bundle.predict(IMAGE, stage=bundle.num_stages)
                seen.add(answer.stage)
                if not np.allclose(answer.probabilities, wanted[answer.stage - 1], rtol=1e-5):
                    bad.append(answer)

        threads = [threading.Thread(target=predict) for _ in range(2)]
        for thread in threads:
            thread.start()
        for stage in (2, 3):
            gate.open(stage)
            arriving.wait(stage, timeout_s=30)
        while 3 not in seen:
            assert all(thread.is_alive() for thread in threads)
        stop.set()
        for thread in threads:
            thread.join()
    assert not bad


def test_an_upgrade_is_warm_before_it_takes_its_place(server, monkeypatch):
    warm: list[tuple[int, int]] = []
    real = Bundle.warm_up

    def noted(bundle: Bundle, batch: int = 1) -> None:
        warm.append((bundle.num_stages, arriving.stages_ready if started.is_set() else 0))
        real(bundle, batch)

    started = threading.Event()
    monkeypatch.setattr(Bundle, "warm_up", noted)
    gate = Gate(server)
    gate.open(1)
    with an.load(server.url, progressive=True) as arriving:
        arriving.wait(1, timeout_s=30)
        started.set()
        gate.open(2)
        gate.open(3)
        last = arriving.wait(timeout_s=30)
    assert warm[0] == (1, 0)
    assert all(ready < stages for stages, ready in warm)
    assert warm[-1][0] == 3
    assert set(last.backend.prepared) >= {(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)}
