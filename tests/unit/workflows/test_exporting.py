"""`anytimenet export`: what was asked for is in the folder, said in JSON and words; nonsense is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import anytimenet as an
from anytimenet.cli.export import parse_segments
from anytimenet.cli.main import run
from anytimenet.runtime import ExportedNet


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = an.create_net("plain_chain_tiny", 4, in_channels=1).eval()
    look = an.Preprocessing(8, 8, 1, (0.5,), (0.5,))
    bundle = an.Bundle.create(net, class_names=[list("abcd")], preprocessing=look)
    return bundle.save(tmp_path_factory.mktemp("exporting") / "bundle")


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        ([], {(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)}),
        (["--segments", "0-1", "1-3"], {(0, 1), (1, 3)}),
        (["--segments", "all", "--format", "openvino"], {(a, b) for b in (1, 2, 3) for a in range(b)}),
    ],
    ids=["default", "two", "all, OpenVINO"],
)
def test_the_command_exports_what_it_is_asked_for(saved, tmp_path, capsys, words, pairs):
    out = tmp_path / "exported"
    assert run(["export", str(saved), "--out", str(out), *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    net = ExportedNet.load(out)
    assert net.segments == pairs == {(one["start"], one["stop"]) for one in result["segments"]}
    assert result["format"] == net.kind
    files = [file for file in out.rglob("*") if file.is_file()]
    assert result["bytes"] == sum(file.stat().st_size for file in files) > result["weight_bytes"] > 0
    x = np.random.default_rng(0).standard_normal((1, 1, 8, 8)).astype(np.float32)
    _, output = net.backend.run(0, 1, net.backend.begin(x))
    with torch.no_grad():
        truth = an.load(saved).net(torch.from_numpy(x))[0][0].numpy()
    np.testing.assert_allclose(output[0], truth, rtol=1e-4, atol=1e-5)
    assert run(["export", str(saved), "--out", str(out), *words]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(["export", str(saved), "--out", str(out), *words, "--overwrite"]) == 0
    said = capsys.readouterr().out
    assert f"{out}: " in said
    assert "python -m anytimenet.runtime" in said


@pytest.mark.parametrize(
    "words",
    [
        ["--segments", "1"],
        ["--segments", "0-4"],
        ["--segments", "2-1"],
        ["--segments", "1-2"],
        ["--segments", ""],
    ],
    ids=str,
)
def test_segments_that_do_not_exist_are_refused_and_nothing_is_written(saved, tmp_path, capsys, words):
    out = tmp_path / "exported"
    assert run(["export", str(saved), "--out", str(out), *words]) == 1
    assert "--segments" in capsys.readouterr().err
    assert not out.exists()


def test_another_folder_is_never_written_over(saved, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    for out in (tmp_path, saved):
        assert run(["export", str(saved), "--out", str(out), "--overwrite"]) == 1
        assert "is no export" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_bundle_may_be_named_by_its_folder_or_given(saved, tmp_path):
    first = an.export_bundle(saved, tmp_path / "a", segments=[(0, 1)])
    second = an.export_bundle(an.load(saved), tmp_path / "b", segments=[(0, 1)])
    assert (first / "segment-0-1.onnx").read_bytes() == (second / "segment-0-1.onnx").read_bytes()


def test_pairs_are_read_in_either_spelling():
    assert parse_segments(("0-2,1-3", "2-3")) == [(0, 2), (1, 3), (2, 3)]
