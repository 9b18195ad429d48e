"""A net of timm from the command line: trained on a folder, looked at, evaluated, exported, asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import anytimenet as an
from anytimenet.cli.main import run
from anytimenet.runtime import ExportedNet

NAME = "timm:test_efficientnet"


@pytest.fixture(scope="module")
def trained(torchvision: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on 24 images of noise, dark and bright."""
    pytest.importorskip("timm")
    photos, out = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("run") / "run"
    generator = np.random.default_rng(0)
    for name, brightness in (("dark", 80), ("bright", 255)):
        (photos / name).mkdir()
        for number in range(12):
            pixels = generator.integers(0, brightness, (36, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photos / name / f"{number}.png")
    how = ["--image-size", "32", "--exits", "3", "--epochs", "1", "--batch-size", "8", "--workers", "0"]
    arguments = ["train", "folder", "--data", f"folder:{photos}", "--net", NAME, *how]
    assert run([*arguments, "--quiet", "--out", str(out)]) == 0
    return out


def test_the_bundle_knows_where_the_exits_are_and_of_which_timm_it_is(trained):
    bundle = json.loads((trained / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    arguments = bundle["net"]["arguments"]
    assert bundle["net"]["name"] == NAME
    assert len(arguments["taps"]) == 2
    assert arguments["input_size"] == [32, 32]
    assert arguments["exits"] is None
    assert arguments["pretrained"] is False
    assert bundle["provenance"]["versions"]["timm"]


def test_it_is_evaluated_and_asked(trained, capsys):
    data = json.loads((trained / "experiment.json").read_text(encoding="utf-8"))["data"]
    image = next(Path(data.removeprefix("folder:")).rglob("*.png"))
    assert run(["evaluate", str(trained), "--data", data, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [stage["stage"] for stage in report["stages"]] == [1, 2, 3]
    assert run(["predict", str(trained), str(image), "--json"]) == 0
    assert {"dark", "bright"} >= {json.loads(capsys.readouterr().out)["label"]}


def test_its_costs_are_told(trained, capsys):
    assert run(["info", NAME, "--net-args", "exits=3", "--image-size", "32", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    macs = [stage["macs"] for stage in told["stages"]]
    assert told["num_stages"] == 3
    assert macs == sorted(set(macs))
    assert run(["info", NAME, "--taps", "--image-size", "32", "--json"]) == 0
    taps = json.loads(capsys.readouterr().out)["taps"]
    shares = [tap["share"] for tap in taps]
    assert {"blocks.1", "blocks.3"} <= {tap["tap"] for tap in taps}
    assert shares == sorted(set(shares))
    assert 0 < shares[0] < shares[-1] < 1
    assert run(["list", "nets", "timm:test_eff*", "--json"]) == 0
    assert NAME in [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]


def test_an_exported_folder_gives_the_same_answers(trained, tmp_path):
    out = tmp_path / "exported"
    assert run(["export", str(trained), "--out", str(out)]) == 0
    net, exported = an.load(trained / "bundle").net.eval(), ExportedNet.load(out)
    x = np.random.default_rng(1).standard_normal((1, 3, 32, 32), dtype=np.float32)
    with torch.inference_mode():
        expected = [output[0].numpy() for output in net(torch.from_numpy(x))]
    for stage, logits in enumerate(expected, 1):
        answer = exported.backend.run(0, stage, exported.backend.begin(x))[1][0]
        np.testing.assert_allclose(answer, logits, rtol=1e-4, atol=1e-5)
