"""An exported net is measured where it runs, without PyTorch, and its folder keeps the table."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anytimenet import Bundle, Preprocessing, create_net, profile
from anytimenet.core.errors import BackendError, BundleError
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.export import export
from anytimenet.runtime import ExportedNet, Placement, profile_exported
from anytimenet.runtime.cli.main import run
from anytimenet.runtime.exported.tables import store_table
from anytimenet.testing.net_under_test import redraw


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    net = create_net("isresnext_tiny", num_classes=2, in_channels=1).eval()
    redraw(net, torch.Generator().manual_seed(0))
    preprocessing = Preprocessing(8, 8, 1, (0.5,), (0.5,))
    return Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=preprocessing)


@pytest.fixture(scope="module")
def exported(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(bundle, tmp_path_factory.mktemp("exported") / "folder")


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "folder"))


def test_what_was_exported_is_measured_and_the_folder_keeps_it(folder: Path) -> None:
    net = ExportedNet.load(folder)
    table = profile_exported(net, minutes=0.005, batch_sizes=(1, 2))
    assert {key[:2] for key in table.entries} == net.segments
    assert (table.backend, table.batch_sizes, len(table.state_bytes)) == ("onnxruntime", (1, 2), 3)
    assert table.decode is not None
    again = ExportedNet.load(folder)
    assert again.cost_tables == net.cost_tables == {table.key: table}
    assert table_for(again.cost_tables, "onnxruntime", Placement()) == table


def test_measured_again_it_takes_the_place_of_the_first_and_others_stay(folder: Path) -> None:
    net = ExportedNet.load(folder)
    first = profile_exported(net, minutes=0.005)
    store_table(folder, replace(first, threads=2))
    second = profile_exported(net, minutes=0.005)
    assert ExportedNet.load(folder).cost_tables == {
        first.key: second,
        replace(first, threads=2).key: replace(first, threads=2),
    }
    assert len(list((folder / "costs2").iterdir())) == 2


def test_what_is_not_to_be_kept_leaves_the_folder_alone(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    net = ExportedNet.load(folder)
    table = profile_exported(net, minutes=0.005, keep=False)
    assert sorted(folder.rglob("*")) == before
    assert net.cost_tables == {table.key: table}


def test_a_table_of_another_net_is_not_kept(folder: Path) -> None:
    table = profile_exported(ExportedNet.load(folder), minutes=0.005, keep=False)
    with pytest.raises(BundleError, match="was measured on inputs of"):
        store_table(folder, replace(table, input_shape=(1, 9, 9)))


def test_the_front_door_takes_folders_exported_nets_and_bundles(
    bundle: Bundle, folder: Path, tmp_path: Path
) -> None:
    net = ExportedNet.load(folder)
    table = profile(net, minutes=0.005)
    assert net.cost_tables == {table.key: table} == ExportedNet.load(folder).cost_tables
    other = profile(folder, minutes=0.005, threads=2)
    assert ExportedNet.load(folder).cost_tables.keys() == {table.key, other.key}
    bundle.save(tmp_path / "bundle")
    eager = profile(tmp_path / "bundle", minutes=0.005, device="cpu")
    assert Bundle.load(tmp_path / "bundle").cost_tables == {eager.key: eager}


def test_a_bundle_is_exported_for_a_backend_that_runs_files(bundle: Bundle) -> None:
    table = profile(bundle, backend="onnxruntime", minutes=0.01)
    assert bundle.cost_tables[table.key] == table
    assert {key[:2] for key in table.entries} == {(0, 1), (0, 2), (0, 3), (1, 2), (2, 3), (1, 3)}
    with pytest.raises(BackendError, match="onnxruntime runs here on cpu in float32"):
        profile(bundle, backend="onnxruntime", dtype="bfloat16")


def test_the_command_of_devices_measures_and_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profile", str(folder), "--minutes", "0.005", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["backend"], told["format"]) == ("onnxruntime", 2)
    assert [table.to_json() for table in ExportedNet.load(folder).cost_tables.values()] == [told]
    assert run(["profile", str(folder), "--minutes", "0.005", "--batch-sizes", "1", "4"]) == 0
    assert "(0, 1)       4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["profile", "nowhere"], 1, "nowhere is no exported net"),
        (["profile", "FOLDER", "--backend", "onxruntime"], 1, "did you mean 'onnxruntime'"),
        (["profile", "FOLDER", "--minutes", "0"], 1, "minutes must be above 0"),
        (["profile", "FOLDER", "--threads", "x"], 2, "--threads"),
        (["profile"], 2, "EXPORT"),
        (["prophile"], 2, "profile"),
        ([], 2, "VERB"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert run([word.replace("FOLDER", str(folder)) for word in words]) == code
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert run(["profile", "--help"]) == 0
    assert "--batch-sizes" in capsys.readouterr().out


def test_it_runs_where_pytorch_cannot_be_imported(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from anytimenet.runtime.cli.main import run\n"
        f"sys.exit(run(['profile', {str(folder)!r}, '--minutes', '0.005']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cpu, onnxruntime, float32, 1 thread(s)")
