"""What a small installation can do: lists, costs and comparisons, with torch out of reach."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import anytimenet
from anytimenet.cli.main import run
from anytimenet.core.registered import registered
from anytimenet.nets import list_nets
from anytimenet.recipes import list_recipes
from anytimenet.schemes import list_schemes

DATA = Path(__file__).resolve().parents[2] / "data"
# Everything that only the extra `train` brings.
BLOCKED = ("torch", "lightning_fabric", "torchmetrics", "tensorboard", "matplotlib", "sklearn", "scipy")
SCRIPT = f"""
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
from anytimenet.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def small(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process that finds no torch."""
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two folders with the reports of runs."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(DATA / "at_454e083" / "report.json", tmp_path / name / "report.json")
    return [str(tmp_path / "one"), str(tmp_path / "two")]


@pytest.mark.parametrize("kind", ["nets", "recipes", "schemes", "data"])
def test_lists(kind, capsys):
    result = small("list", kind, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert run(["list", kind, "--json"]) == 0  # here, with torch, the registries are asked
    assert result.stdout == capsys.readouterr().out


def test_the_costs_of_a_net_and_what_is_written_in_a_bundle(capsys):
    for arguments in (["info", "isresnext_small"], ["info", "isresnext_small", "--json"]):
        result = small(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        assert run(arguments) == 0  # counted
        assert result.stdout == capsys.readouterr().out
    old = small("info", str(DATA / "bundle-v1"), "--json")
    assert (old.returncode, old.stderr) == (0, "")
    told, manifest = json.loads(old.stdout), json.loads((DATA / "bundle-v1" / "bundle.json").read_text())
    assert [stage["macs"] for stage in told["stages"]] == [stage["macs"] for stage in manifest["stages"]]
    assert told["num_stages"] == 3
    assert told["stages"][0]["macs_step"] is None
    assert "counting them needs torch" in small("info", str(DATA / "bundle-v1")).stdout


def test_a_bundle_tells_its_steps_without_torch(tmp_path):
    net = anytimenet.create_net("isresnext_tiny", 2, in_channels=1)
    gray = anytimenet.Preprocessing(8, 8, 1, mean=(0.5,), std=(0.5,))
    anytimenet.Bundle.create(net, class_names=[["a", "b"]], preprocessing=gray).save(tmp_path / "bundle")
    told = json.loads(small("info", str(tmp_path / "bundle"), "--json").stdout)
    counted = anytimenet.stage_costs(net, (1, 8, 8))
    expected = [{**asdict(c), "macs_complete": True, "uncounted_operators": []} for c in counted]
    assert told["stages"] == expected
    assert told["stored_params"] == sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("steps", [None, 3, [], [1, 2, 3], [{"macs_step": "x"}] * 3, [{"msd": True}] * 3])
def test_what_a_file_says_of_steps_is_only_taken_if_it_is_whole(steps, tmp_path):
    from anytimenet.cli.info import _of_manifest

    manifest = anytimenet.Manifest.read(DATA / "bundle-v1")
    told = _of_manifest(replace(manifest, extensions={"steps": steps}))
    assert [stage["macs_step"] for stage in told["stages"]] == [None] * 3


def test_what_has_to_be_counted_says_what_it_needs():
    result = small("info", "isresnext_small", "--image-size", "64")
    assert result.returncode == 1
    assert "torch is needed here and is not installed" in result.stderr
    assert "did you mean 'isresnext_small'" in small("info", "isresnext_smal").stderr


def test_a_comparison(runs):
    result = small("compare", *runs, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert told["figure"] is None
    assert [curve["label"] for curve in told["curves"]] == ["one", "two"]
    assert "one\n  stage 1" in small("compare", *runs).stdout
    assert "matplotlib is needed here" in small("compare", *runs, "--out", "x.png").stderr


def test_nothing_heavy_is_imported_for_a_list():
    code = (
        "import sys\nfrom anytimenet.cli.main import run\nrun(['list', 'nets'])\n"
        "print([m for m in ('torch', 'numpy', 'PIL', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_the_table_has_every_name():
    # Other tests register nets of theirs.
    assert {record["name"] for record in registered("nets")} <= set(list_nets())
    assert [record["name"] for record in registered("recipes")] == list_recipes()
    assert [record["name"] for record in registered("schemes")] == list_schemes()


def test_a_net_that_a_module_registers_is_in_the_list(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import anytimenet as an\n\n"
        "@an.register_net('mine', input_shape=(1, 8, 8), summary='my own')\n"
        "def mine(num_classes, in_channels=1):\n"
        "    return an.create_net('isresnext_tiny', num_classes, in_channels=in_channels)\n"
    )
    command = [sys.executable, "-m", "anytimenet", "--import", "mine", "list", "nets", "mi*"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "mine  my own\n"
