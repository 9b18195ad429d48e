"""`anytimenet.js` on an exported folder, in Node and in headless Chromium: Python's labels in any time."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.browser.tools import HERE, WEB, in_browser, run_script, serve

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.export import export
from anytimenet.runtime import ExportedNet
from anytimenet.testing.net_under_test import redraw

SCORES = (0.5, 0.9, 0.7)
"""Of the three stages: the second is the best validated."""
PLACES = ("node", "page")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    net = create_net("isresnext_tiny", num_classes=(10, 4)).eval()
    redraw(net, torch.Generator().manual_seed(0))
    bundle = Bundle.create(
        net,
        class_names=[[f"fine {i}" for i in range(10)], [f"coarse {i}" for i in range(4)]],
        preprocessing=Preprocessing(8, 8, 3, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), resample="bicubic"),
    )
    manifest = bundle.manifest
    stages = tuple(
        replace(stage, val_accuracy=score) for stage, score in zip(manifest.stages, SCORES, strict=True)
    )
    bundle = Bundle(bundle.net, replace(manifest, stages=stages))
    return export(bundle, tmp_path_factory.mktemp("web") / "folder", format="native")


@pytest.fixture
def folder(exported, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(exported, tmp_path / "net")
    return tmp_path / "net"


def photograph() -> Image.Image:
    draw = np.random.default_rng(3)
    coarse = Image.fromarray(draw.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    return coarse.resize((37, 29), Image.Resampling.BICUBIC)


def as_given(image: Image.Image) -> dict[str, object]:
    data = np.asarray(image.convert("RGBA")).flatten().tolist()
    return {"data": data, "width": image.width, "height": image.height}


def play(place: str, name: str, folder: Path, **given):
    """What the scenario told, run in Node or in a page."""
    folders = {"net": folder, "web": WEB, "tests": HERE, "pages": HERE / "pages"}
    with serve(folders) as served:
        scenario = {"name": name, "url": f"{served.url}net", "image": as_given(photograph()), **given}
        if given.get("png"):
            scenario["png"] = f"{served.url}net/{given['png']}"
        if place == "node":
            return run_script("play_in_node.mjs", given=scenario)
        return in_browser("play_in_page.mjs", served.url, given=scenario)


@pytest.mark.parametrize("place", PLACES)
def test_every_stage_answers_as_in_python_and_the_best_validated_stands(place, exported):
    runs = [{}, {"stop": 1}, {"deadlineMs": 0}, {"deadlineMs": 600_000}]
    found = play(place, "answers", exported, runs=runs)
    answers = found["found"]
    model = ExportedNet.load(exported)
    predictor = model.predictor()
    assert found["ready"] == 3
    told = found["model"]
    assert (told["name"], told["classNames"][1][0]) == ("isresnext_tiny", "coarse 0")
    assert [stage["valAccuracy"] for stage in told["stages"]] == list(SCORES)
    assert [stage["macs"] for stage in told["stages"]] == [stage.macs for stage in model.manifest.stages]
    assert told["input"] == {"height": 8, "width": 8, "channels": 3}
    for run in (answers[0], answers[3]):
        assert [(one["stage"], one["final"]) for one in run] == [
            (1, False),
            (2, False),
            (3, False),
            (2, True),
        ]
        for one in run:
            wanted = predictor.predict(photograph(), stage=one["stage"])
            assert one["labels"] == list(wanted.labels)
            assert one["late"] is False
            for level, probabilities in zip(one["probabilities"], wanted.level_probabilities, strict=True):
                np.testing.assert_allclose(level, probabilities, rtol=1e-4)
    assert [(one["stage"], one["final"]) for one in answers[1]] == [(1, False), (1, True)]
    assert [(one["stage"], one["final"], one["late"]) for one in answers[2]] == [
        (1, False, True),
        (1, True, True),
    ]


@pytest.mark.parametrize("place", PLACES)
def test_stages_answer_while_the_rest_is_on_its_way(place, exported):
    found = play(place, "loading", exported, throttle=20_000)
    others = ("manifest.json", "host.txt")
    total = sum(file.stat().st_size for file in exported.iterdir() if file.name not in others)
    assert found["first"]["ready"] == 1
    assert found["first"]["bytes"][0] < found["first"]["bytes"][1] == total
    assert found["early"] == [*range(1, found["readyThen"] + 1), 1 if found["readyThen"] == 1 else 2]
    assert found["late"] == [1, 2, 3, 2]
    assert found["stages"] == [[1, 3], [2, 3], [3, 3]]
    counts = [done for done, _ in found["bytes"]]
    assert counts == sorted(counts)
    assert counts[-1] == total
    assert found["failed"] is None


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_is_not_the_listed_one_leaves_the_stages_before_it(place, folder):
    last = folder / "model-00003-of-00003.safetensors"
    data = bytearray(last.read_bytes())
    data[-1] ^= 1
    last.write_bytes(data)
    found = play(place, "failing", folder)
    assert found["ready"] == 2
    assert "model-00003-of-00003.safetensors is not the file" in found["failed"]
    assert found["stages"] == [[1, False], [2, False], [2, True]]


def spoil(folder: Path, how: str) -> None:
    manifest = folder / "manifest.json"
    if how == "no folder":
        shutil.rmtree(folder)
    elif how == "no json":
        manifest.write_text("<html>")
    elif how == "another kind":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "kind": "onnx"}))
    elif how == "another format":
        manifest.write_text("{}")
    elif how == "outside":
        told = json.loads(manifest.read_text())
        told["weights"][0] = ["../secret"]
        told["files"]["../secret"] = {"sha256": "", "bytes": 1}
        manifest.write_text(json.dumps(told))
    elif how == "longer":
        (folder / "program.bin").write_bytes((folder / "program.bin").read_bytes() + b"\0" * 4)
    elif how == "refused":
        from hashlib import sha256

        data = (folder / "program.bin").read_bytes()[:64]
        (folder / "program.bin").write_bytes(data)
        told = json.loads(manifest.read_text())
        told["files"]["program.bin"] = {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
        manifest.write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no folder", "404"),
        ("no json", "is no JSON"),
        ("another kind", "export it with --format native"),
        ("another format", "no exported folder"),
        ("outside", "outside of the folder"),
        ("longer", "longer than the manifest says"),
        ("refused", "refuses the program"),
    ],
)
def test_a_folder_that_cannot_answer_is_refused_in_words(how, words, folder):
    spoil(folder, how)
    assert words in play("node", "failing", folder)["rejected"]


@pytest.mark.parametrize("place", PLACES)
def test_a_run_ends_when_a_signal_a_new_run_or_its_reader_wants(place, exported):
    found = play(place, "ending", exported)
    assert found["first"] == 1
    assert found["reasons"] == ["enough", "enough"]
    assert not any(one["final"] for one in found["one"])
    for whole in (found["two"], found["third"]):
        assert [one["stage"] for one in whole] == [1, 2, 3, 2]
        assert whole[-1]["final"]
    assert found["profile"] == "a run was begun, which ended the profile"
    assert found["wrong"] == [*["RangeError"] * 4, *["TypeError"] * 3, "RangeError"]
    assert found["closed"] == "the net was closed"


@pytest.mark.parametrize("place", PLACES)
def test_loading_ends_where_a_signal_wants(place, exported):
    assert play(place, "abandoning", exported) == "not wanted"


@pytest.mark.parametrize("place", PLACES)
def test_a_profile_measures_every_step(place, exported):
    found = play(place, "profile", exported)
    assert len(found["stepMs"]) == 3
    assert all(ms > 0 for ms in [*found["stepMs"], found["fullMs"]])


def test_pictures_of_a_page_get_the_answers_of_their_pixels(folder):
    file = BytesIO()
    photograph().save(file, "PNG")
    (folder / "photograph.png").write_bytes(file.getvalue())
    found = play("page", "pictures", folder, png="photograph.png")
    assert found["again"] == 37
    wanted = [one["probabilities"] for one in found["bytes"]]
    for kind in ("imageData", "bitmap"):
        assert [one["probabilities"] for one in found[kind]] == wanted


def test_a_net_whose_numbers_overflow_says_so(tmp_path):
    net = create_net("isresnext_tiny").eval()
    redraw(net, torch.Generator().manual_seed(0))
    weights = list(net.parameters())
    with torch.no_grad():
        for weight in [
            next(one for one in weights if one.ndim == 4),
            *(one for one in weights if one.ndim == 2),
        ]:
            weight.mul_(1e30)
    bundle = Bundle.create(
        net,
        class_names=[[f"class {i}" for i in range(10)]],
        preprocessing=Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3),
    )
    folder = export(bundle, tmp_path / "net", format="native")
    with pytest.raises(AssertionError, match="every stage that ran answers with NaN"):
        play("node", "answers", folder, runs=[{}])
