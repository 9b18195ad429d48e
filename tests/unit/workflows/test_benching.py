"""`bench` sweeps batches and deadlines on the backend that is named, writes it down, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.cli.main import run
from anytimenet.core.errors import BackendError
from anytimenet.workflows import bench, write_bench


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    net = create_net("isresnext_tiny", num_classes=2, in_channels=1).eval()
    preprocessing = Preprocessing(8, 8, 1, (0.5,), (0.5,))
    accuracies = (0.6, 0.7, 0.8)
    return Bundle.create(
        net, class_names=[["cat", "dog"]], preprocessing=preprocessing, val_accuracies=accuracies
    )


@pytest.mark.parametrize("backend", ["eager", "onnxruntime"])
def test_it_sweeps_and_writes_and_leaves_the_bundle_alone(
    bundle: Bundle, tmp_path: Path, backend: str
) -> None:
    found = bench(
        bundle, backend=backend, batch_sizes=(4, 2), deadlines_ms=(3, 9), calls=20, minutes=0.02, device="cpu"
    )
    assert found.table.endswith(f"-cpu-{backend}-1-float32")
    assert {point.batch for point in found.batches} == {1, 2, 4}
    assert {point.stage for point in found.batches} == {1, 2, 3}
    assert [(point.deadline_ms, point.calls) for point in found.deadlines] == [(3, 20), (9, 20)]
    assert all(point.accuracy is not None and 0.599 < point.accuracy < 0.801 for point in found.deadlines)
    assert bundle.cost_tables == {}
    write_bench(found, tmp_path)
    assert json.loads((tmp_path / "bench.json").read_text()) == json.loads(json.dumps(found.to_dict()))
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "bench.csv").read_text().count("\n") == 1 + 9 + 2


def test_a_backend_that_is_not_there_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BackendError, match="did you mean 'eager'"):
        bench(bundle, backend="eagre")


def test_the_command_prints_both_sweeps(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.save(tmp_path / "bundle", overwrite=True)
    words = [
        "bench",
        str(tmp_path / "bundle"),
        "--minutes",
        "0.02",
        "--batch-sizes",
        "1",
        "2",
        "--calls",
        "20",
    ]
    assert run([*words, "--device", "cpu", "--deadlines-ms", "5", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "images a second of the sub-network of each stage" in said
    assert "      5.000     20" in said
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"bench.json", "bench.csv", "bench.png"}
