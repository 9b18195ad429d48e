"""The static site: exactly the files that it needs, of one native export, and samples that show something."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.cli.main import run
from anytimenet.core.errors import BackendError, BundleError, DataError
from anytimenet.export import export
from anytimenet.native import library
from anytimenet.runtime import ExportedNet
from anytimenet.serving.samples import Sample, chosen, sample_of, samples_in
from anytimenet.serving.site import ENGINE, PAGE, write_site
from anytimenet.testing.net_under_test import redraw

pytestmark = pytest.mark.skipif(not library.is_there(), reason="no engine")
MOST_PAGE_BYTES = 300_000


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    net = create_net("isresnext_tiny").eval()
    redraw(net, torch.Generator().manual_seed(0))
    names = [[f"class {i}" for i in range(net.num_classes[0])]]
    return Bundle.create(net, class_names=names, preprocessing=Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3))


@pytest.fixture(scope="module")
def exported(bundle, tmp_path_factory):
    return export(bundle, tmp_path_factory.mktemp("net") / "tiny", format="native")


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("one", "two"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for i in range(6):
                pixels = rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{split}-{i}.png")
    return tmp_path / "images"


def test_the_page_is_small_asks_no_other_host_and_has_nothing_inline():
    files = [file for file in PAGE.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < MOST_PAGE_BYTES
    assert {file.suffix for file in files} <= {".html", ".css", ".js", ".svg", ".LICENSE"}
    for file in files:
        if file.parent.name != "vendor":
            text = file.read_text(encoding="utf-8")
            hosts = set(re.findall(r"https?://([\w.:]+)", text))
            assert hosts <= {"www.w3.org", "localhost:8000"}, file
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", index)
    for link in re.findall(r'(?:src|href)="([^"#]+)"', index):
        assert (PAGE / link).is_file(), link


def test_a_site_is_the_page_the_engine_the_net_and_nothing_else(exported, tmp_path):
    (exported / "notes.txt").write_text("private")
    site = write_site(exported, tmp_path / "site", [Sample(b"x", ".png", "class 1", ("class 1",))])
    inside = {path.relative_to(site).parts[0] for path in site.iterdir()}
    assert inside == {path.name for path in PAGE.iterdir()} | {
        *("engine", "net", "samples", "README.md", "site.json")
    }
    assert not (site / "net" / "notes.txt").exists()
    assert ExportedNet.load(site / "net").num_stages == ExportedNet.load(exported).num_stages
    assert 'content="browser"' in (site / "index.html").read_text()
    for file in (site / "engine").iterdir():
        assert file.read_bytes() == (ENGINE / file.name).read_bytes()
    told = json.loads((site / "samples" / "samples.json").read_text())
    assert told == {"samples": [{"file": "1.png", "label": "class 1", "labels": ["class 1"]}]}
    _, matter, rest = (site / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert "sdk: static" in matter
    assert "app_file: index.html" in matter
    assert rest.startswith("# tiny")


def test_a_site_replaces_a_site_when_told_and_nothing_else_ever(exported, tmp_path):
    site = write_site(exported, tmp_path / "site", title="first")
    with pytest.raises(BundleError, match="overwrite=True"):
        write_site(exported, site)
    write_site(exported, site, title="second", overwrite=True)
    assert json.loads((site / "site.json").read_text())["title"] == "second"
    other = tmp_path / "photos"
    other.mkdir()
    (other / "mine.png").write_bytes(b"")
    with pytest.raises(BundleError, match="left alone"):
        write_site(exported, other, overwrite=True)
    assert (other / "mine.png").exists()


def test_what_a_browser_cannot_run_is_refused(bundle, tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(BackendError, match="format='native'"):
        write_site(export(bundle, tmp_path / "onnx"), tmp_path / "site")
    with pytest.raises(BundleError):
        write_site(tmp_path, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_samples_are_the_held_out_images_with_their_classes(images):
    found = samples_in(images)
    assert [one.label for one in found] == ["one"] * 6 + ["two"] * 6
    first = images / "test" / "one" / "test-0.png"
    assert found[0].content == first.read_bytes()
    (images / "train" / "nothing").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        samples_in(images / "train" / "nothing")


def test_a_photograph_is_made_small_and_what_is_no_image_refused():
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (1200, 900, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    small = sample_of(buffer.getvalue(), "noise")
    assert small.suffix == ".jpg"
    assert len(small.content) < len(buffer.getvalue()) / 10
    assert max(Image.open(io.BytesIO(small.content)).size) == 320
    with pytest.raises(DataError):
        sample_of(b"no image")


def test_samples_take_the_classes_in_turn_and_say_what_python_says(exported, images):
    predictor = ExportedNet.load(exported).predictor(policy=None)
    found = chosen(samples_in(images), predictor, 5)
    assert [one.label for one in found] == ["one", "two", "one", "two", "one"]
    assert len({one.content for one in found}) == 5
    for one in found:
        image = Image.open(io.BytesIO(one.content))
        said = tuple(predictor.predict(image, stage=k).label for k in range(1, len(one.labels) + 1))
        assert said == one.labels
    hard = [one for one in chosen(samples_in(images), predictor, 12) if len(set(one.labels)) > 1]
    assert not hard or len(set(found[1].labels)) > 1 or len(set(found[3].labels)) > 1
    assert len(chosen(samples_in(images), predictor, 100)) == 12


def test_the_command_says_what_arrives_before_the_first_answer(exported, images, tmp_path, capsys):
    arguments = ["page", str(exported), "--out", str(tmp_path / "site"), "--samples", str(images)]
    assert run([*arguments, "--count", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == 2
    assert told["first_bytes"] < told["bytes"]
    last = ExportedNet.load(exported).weight_files(ExportedNet.load(exported).num_stages)[0]
    assert told["bytes"] - told["first_bytes"] >= last.stat().st_size
