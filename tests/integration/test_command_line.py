"""The command line as a user types it: verbs, JSON keys, exit codes, errors in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anytimenet.cli.main import run
from anytimenet.native.library import is_there


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the digits recipe, one epoch of the tiny net: not good, but whole."""
    out = tmp_path_factory.mktemp("run")
    arguments = ["train", "digits", "--net", "isresnext_tiny", "--epochs", "1", "--quiet", "--out", str(out)]
    assert run(arguments) == 0
    return out


@pytest.fixture
def digit(trained: Path, tmp_path: Path) -> Path:
    from anytimenet.data import load_data, save_png

    save_png(load_data("digits").test, 3, tmp_path / "digit.png")  # type: ignore[arg-type]
    return tmp_path / "digit.png"


def json_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(arguments) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_training_leaves_a_bundle_reports_and_a_picture(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"bundle", "report.json", "report.csv", "curve.png", "summary.txt", "log.jsonl"} <= names
    assert (trained / "checkpoints" / "last.safetensors").exists()
    assert "isresnext_tiny was trained for 1 epoch on" in (trained / "summary.txt").read_text()
    assert (trained / "curve.png").read_bytes().startswith(b"\x89PNG")
    bundle = json.loads((trained / "bundle" / "bundle.json").read_text())
    assert bundle["provenance"]["recipe"] == "digits"


def test_evaluate_prints_stable_keys_and_equals_the_report_of_training(trained, capsys):
    report = json_of(capsys, "evaluate", str(trained), "--json")
    assert {"stage", "macs", "params", "top1", "top5", "ece"} <= set(report["stages"][0])
    assert {"area", "area_log", "expected_accuracy", "violations", "budget_range"} <= set(report)
    assert report["stages"] == json.loads((trained / "report.json").read_text())["stages"]
    assert all(0 <= stage["top1"] <= stage["top5"] <= 1 for stage in report["stages"])


def test_evaluate_on_another_split_and_with_a_line_per_class(trained, capsys, tmp_path):
    assert (
        run(["evaluate", str(trained), "--split", "val", "--per-class", "--json", str(tmp_path / "e.json")])
        == 0
    )
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["split"] == "val"
    assert len(report["per_class"][0]["classes"]) == 10
    assert "recall %" in capsys.readouterr().out


def test_predict_prints_one_object_a_line_with_the_documented_keys(trained, digit, capsys):
    assert run(["predict", str(trained), str(digit), str(digit), "--stage", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2
    assert set(lines[0]) == {
        "image",
        "label",
        "probability",
        "stage",
        "macs",
        "elapsed_ms",
        "path",
        "backend",
    }
    assert lines[0]["stage"] == 2


def test_a_deadline_is_kept_with_what_profile_measured(trained, digit, capsys, tmp_path):
    bundle = tmp_path / "run"
    shutil.copytree(trained, bundle)
    assert run(["predict", str(bundle), str(digit), "--deadline-ms", "5"]) == 1
    error = capsys.readouterr().err
    default = "native" if is_there() else "eager"
    assert f"--deadline-ms needs latencies measured on this machine for backend {default!r}" in error
    assert run(["profile", str(bundle), "--minutes", "0.01", "--device", "cpu"]) == 0
    capsys.readouterr()
    for deadline, late in (("1e6", False), ("0", True)):
        assert run(["predict", str(bundle), str(digit), "--deadline-ms", deadline, "--json"]) == 0
        record = json.loads(capsys.readouterr().out)
        assert record.get("late", False) is late
        assert record["backend"] == default


def test_without_a_profile_the_native_engine_answers_and_a_named_backend_wins(trained, digit, capsys):
    found = {}
    for given in ([], ["--backend", "eager"]):
        assert run(["predict", str(trained), str(digit), "--json", *given]) == 0
        found[len(given)] = json.loads(capsys.readouterr().out)
    assert found[0]["backend"] == ("native" if is_there() else "eager")
    assert found[2]["backend"] == "eager"
    assert found[0]["label"] == found[2]["label"]
    assert found[0]["probability"] == pytest.approx(found[2]["probability"], abs=1e-4)


def test_a_budget_below_stage_1_is_answered_and_marked(trained, digit, capsys):
    assert run(["predict", str(trained), str(digit), "--budget-macs", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["over_budget"] is True
    assert record["stage"] == 1


def test_info_counts_a_net_by_name_and_a_bundle_alike(trained, capsys):
    net = json_of(capsys, "info", "isresnext_47", "--num-classes", "100", "--json")
    assert net["num_stages"] == 6
    assert net["stored_params"] == 973_560
    assert [s["stage"] for s in net["stages"]] == [1, 2, 3, 4, 5, 6]
    keys = {"stage", "macs", "full", "params", "macs_step", "macs_cumulative", "msd", "params_cumulative"}
    keys |= {"macs_complete", "uncounted_operators"}
    assert set(net["stages"][0]) == keys
    assert net["stages"][0]["params"] == 95_540
    bundle = json_of(capsys, "info", str(trained), "--json")
    report = json.loads((trained / "report.json").read_text())
    assert [s["macs"] for s in bundle["stages"]] == [s["macs"] for s in report["stages"]]


def table_key(table):
    return "-".join([table["machine"]["id"], table["device"], table["backend"], "1", table["dtype"]])


def test_profile_puts_a_cost_table_into_the_bundle_and_evaluate_shows_it(trained, tmp_path, capsys):
    table = json_of(capsys, "profile", str(trained), "--minutes", "0.02", "--json")
    assert table["input_shape"] == [1, 8, 8]
    assert list(
        (trained / "bundle" / "costs2").glob(f"*-{'native' if is_there() else 'eager'}-1-float32.json")
    )
    out, figure = tmp_path / "evaluated", tmp_path / "over_ms.svg"
    more = ["--figure", str(figure), "--over", "ms", "--baseline", str(trained), "--out", str(out)]
    report = json_of(capsys, "evaluate", str(trained), "--json", *more)
    assert all(stage["latency_median_ms"] > 0 for stage in report["stages"])
    assert report["latency_from"] == table_key(table)
    assert report["baseline"]["macs_ratio"] <= 1  # against its own last stage
    assert report["baseline"]["same_data"]
    assert "latency (ms)" in figure.read_text()
    assert {"report.json", "curve.png", "latency.png", "baseline.json"} <= {f.name for f in out.iterdir()}
    assert run(["evaluate", str(trained), "--backend", "onnxruntime"]) == 1
    assert "nobody measured the backend 'onnxruntime' on this machine" in capsys.readouterr().err
    assert run(["evaluate", str(trained), "--over", "ms"]) == 1
    assert "name the file with --figure" in capsys.readouterr().err


def test_compare_draws_runs_and_seeds_and_tells_the_saving(trained, tmp_path, capsys):
    out = tmp_path / "seeds"
    arguments = ["train", "digits", "--net", "resnet_tiny", "--epochs", "1", "--quiet"]
    assert run([*arguments, "--seeds", "0,1", "--out", str(out)]) == 0
    assert {"seed-0", "seed-1", "spread.json", "curve.png"} <= {path.name for path in out.iterdir()}
    figure = tmp_path / "figure.pdf"
    result = json_of(capsys, "compare", str(trained), str(out), "--out", str(figure), "--json")
    assert figure.read_bytes().startswith(b"%PDF")
    assert [curve["runs"] for curve in result["curves"]] == [1, 2]
    assert result["curves"][0]["saving_max"] is None
    tops = [json.loads((out / f"seed-{s}" / "report.json").read_text())["stages"][0]["top1"] for s in (0, 1)]
    assert result["curves"][1]["stages"][0]["top1"] == pytest.approx(sum(tops) / 2)


@pytest.mark.parametrize("what", ["nets", "recipes", "schemes"])
def test_lists_have_a_line_an_entry(what, capsys):
    assert run(["list", what, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records
    assert all(record["name"] and record["summary"] for record in records)


def test_a_run_is_never_overwritten_or_mixed_in_silence(tmp_path, capsys):
    arguments = [
        "train",
        "digits",
        "--net",
        "resnet_tiny",
        "--epochs",
        "1",
        "--quiet",
        "--out",
        str(tmp_path),
    ]
    assert run(arguments) == 0
    before = (tmp_path / "bundle" / "bundle.json").read_bytes()
    assert run(arguments) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert run([*arguments, "--seeds", "1,2"]) == 1
    assert (tmp_path / "bundle" / "bundle.json").read_bytes() == before
    assert run([*arguments, "--seeds", "1", "--overwrite"]) == 0
    assert not (tmp_path / "bundle").exists()
    assert run(arguments) == 1
    assert "runs with several seeds" in capsys.readouterr().err
    assert run(["evaluate", str(tmp_path)]) == 1
    assert "seed-1" in capsys.readouterr().err


def test_resuming_tells_what_changed_in_short(trained, capsys):
    again = ["train", "digits", "--net", "isresnext_tiny", "--quiet", "--resume", "--out", str(trained)]
    assert run([*again, "--epochs", "2"]) == 1
    assert "epochs was 1, is 2" in capsys.readouterr().err
    assert run([*again, "--epochs", "1", "--net-args", "init=pytorch"]) == 1
    assert "--net-args init was None, is 'pytorch'" in capsys.readouterr().err


def test_resume_without_a_checkpoint_says_that_it_starts_afresh(tmp_path, capsys):
    arguments = ["train", "digits", "--net", "resnet_tiny", "--epochs", "1", "--quiet", "--resume"]
    assert run([*arguments, "--out", str(tmp_path / "typo")]) == 0
    assert "starts from the beginning" in capsys.readouterr().err


def test_curves_in_milliseconds_follow_a_profile(trained, tmp_path, capsys):
    assert run(["profile", str(trained), "--minutes", "0.02"]) == 0
    assert run(["compare", str(trained), "--cost", "ms", "--out", str(tmp_path / "ms.svg")]) == 0
    assert "stage 3" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [["evaluate"], ["profile"]])
def test_cuda_where_there_is_none_is_refused(trained, verb, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert run([*verb, str(trained), "--device", "cuda"]) == 1
    assert "use --device cpu" in capsys.readouterr().err


def test_a_negative_budget_is_refused(trained, digit, capsys):
    assert run(["predict", str(trained), str(digit), "--budget-macs", "-5"]) == 1
    assert "--budget-macs must be at least 0" in capsys.readouterr().err


def test_images_that_cannot_be_read_are_named_or_skipped(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for i in range(20):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{i}.png")
    (tmp_path / "images" / "a" / "broken.png").write_bytes(b"nothing")
    arguments = ["train", "folder", "--data", f"folder:{tmp_path / 'images'}", "--net", "resnet_tiny"]
    arguments += ["--epochs", "1", "--batch-size", "4", "--quiet", "--out", str(tmp_path / "out")]
    assert run(arguments) == 1
    assert "broken.png" in capsys.readouterr().err
    assert run([*arguments, "--skip-bad"]) == 0
    assert run(["evaluate", str(tmp_path / "out"), "--trained-data"]) == 0


def test_a_pattern_narrows_the_list(capsys):
    assert run(["list", "nets", "isresnext_4*"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["isresnext_47"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian"], 2, "did you mean 'train'"),
        (["train", "digts"], 1, "did you mean 'digits'"),
        (["train", "digits", "--net", "isresnet_47"], 1, "did you mean 'isresnext_47'"),
        (["train", "digits", "--net-args", "widht=64"], 1, "did you mean 'width'"),
        (["train", "digits", "--net-args", "width"], 1, "KEY=VALUE"),
        (["train", "digits", "--net-args", "width=33"], 1, "nearest width that can is 32"),
        (["train", "digits", "--epochs", "0"], 1, "--epochs must be at least 1, not 0"),
        (["train", "digits", "--seeds", "1,x"], 1, "for example 1,2,3"),
        (["train", "digits", "--seeds", "1,2", "--seed", "3"], 1, "give one of the two"),
        (["train", "digits", "--seed", "99999999999999999999999"], 1, "--seed is too large a number"),
        (["train", "digits", "--threads", "0"], 1, "--threads must be from 1"),
        (["train", "digits", "--pad", "8"], 1, "less than a side"),
        (["train", "digits", "--net-args", "num_classes=3"], 1, "the data says how many"),
        (["train", "digits", "--net-args", "width=32", "width=64"], 1, "twice"),
        (["info", "eann", "--net-args", "num_classes=3"], 1, "--num-classes"),
        (["info", "isresnext_tiny", "--num-classes", "0"], 1, "--num-classes must be a number"),
        (["info", "isresnext_tiny", "--net-args", "blocks=3"], 1, "a list of whole numbers"),
        (["train", "digits", "--scheme", "anytme"], 1, "did you mean 'anytime'"),
        (["train", "digits", "--data", "folder:does/not/exist"], 1, "does/not/exist"),
        (["train", "folder"], 1, "--data folder:PATH"),
        (["evaluate", "does/not/exist"], 1, "does not exist"),
        (["info", "isresnet_47"], 1, "did you mean 'isresnext_47'"),
        (["compare", "does/not/exist", "--out", "x.png"], 1, "does not exist"),
    ],
)
def test_bad_input_is_one_line_with_the_cure_and_an_exit_code(arguments, code, message, capsys, tmp_path):
    if arguments[:1] == ["train"]:
        arguments = [*arguments, "--quiet", "--out", str(tmp_path)]
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_an_unknown_flag_is_exit_code_2_with_a_suggestion(capsys):
    assert run(["train", "digits", "--epoch", "3"]) == 2
    captured = capsys.readouterr()
    assert "--epochs" in captured.err + captured.out


@pytest.mark.parametrize(
    "verb", ["quickstart", "train", "evaluate", "profile", "predict", "compare", "list", "info"]
)
def test_every_verb_explains_itself(verb, capsys):
    assert run([verb, "--help"]) == 0
    assert "usage: anytimenet " + verb in capsys.readouterr().out


def test_an_image_that_is_none_is_named(trained, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert run(["predict", str(trained), str(tmp_path / "bad.png")]) == 1
    assert "bad.png" in capsys.readouterr().err


def test_fine_tuning_starts_from_a_bundles_weights_for_other_classes(trained, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 8)):
        for name in ("dark", "light"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                low = 130 if name == "light" else 0
                pixels = rng.integers(low, low + 120, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    arguments = ["train", "folder", "--data", f"folder:{tmp_path / 'images'}", "--net", "isresnext_tiny"]
    arguments += ["--epochs", "4", "--batch-size", "8", "--quiet", "--out", str(tmp_path / "tuned")]
    arguments += ["--overwrite"]
    assert run([*arguments, "--init", str(trained), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["stages"][-1]["top1"] >= 0.75
    assert run([*arguments, "--init", str(trained), "--net", "resnet_tiny"]) == 1
    assert "only num_classes may change" in capsys.readouterr().err


@pytest.mark.slow
def test_quickstart_in_an_empty_folder(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "anytimenet", "quickstart", "--epochs", "8"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n  within ") == 3
    assert "95 % interval" in done.stdout
    assert "p99 ms" in done.stdout
    out = tmp_path / "runs" / "quickstart"
    with Image.open(out / "digit.png") as digit:
        assert digit.size == (128, 128)
    assert (out / "bundle" / "bundle.json").exists()
    assert (out / "curve.png").exists()


def test_version(capsys):
    import anytimenet

    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == anytimenet.__version__


def test_a_module_of_ones_own_is_imported_before_the_verb(tmp_path, monkeypatch, capsys):
    (tmp_path / "nets_for_this_test.py").write_text(
        "import anytimenet as an\n"
        "from torch import nn\n"
        "@an.register_net('net_for_this_test', input_shape=(1, 8, 8), summary='two layers')\n"
        "def build(num_classes, in_channels=1):\n"
        "    blocks = [nn.Conv2d(in_channels, 4, 3), nn.Conv2d(4, 4, 3)]\n"
        "    shape = (in_channels, 8, 8)\n"
        "    return an.ExitNet(None, blocks, (1, 2), num_classes=num_classes, input_shape=shape)\n"
    )
    monkeypatch.chdir(tmp_path)
    command = ["--import", "nets_for_this_test", "info", "net_for_this_test", "--json"]
    assert len(json_of(capsys, *command)["stages"]) == 2
    assert run(["--import", "no_such_module_here", "list", "nets"]) == 2
    assert "--import: No module named 'no_such_module_here'" in capsys.readouterr().err


def test_compare_says_dearer_and_warns_of_different_data(trained, tmp_path, capsys):
    # The same run under another name of data, twice as dear and as good at its first stage only.
    report = json.loads((trained / "report.json").read_text())
    report["data"] = "others"
    for stage in report["stages"]:
        stage["macs"] *= 2
    (tmp_path / "dear").mkdir()
    (tmp_path / "dear" / "report.json").write_text(json.dumps(report))
    capsys.readouterr()
    assert run(["compare", str(trained), str(tmp_path / "dear"), "--out", str(tmp_path / "f.png")]) == 0
    printed = capsys.readouterr()
    assert "100.0 % dearer than" in printed.out
    assert "evaluated on different data (digits, others)" in printed.err


def test_a_folder_of_several_runs_or_of_an_unfinished_one_says_what_to_give(trained, tmp_path, capsys):
    (tmp_path / "gap" / "joint").mkdir(parents=True)
    (tmp_path / "half" / "checkpoints").mkdir(parents=True)
    assert run(["evaluate", str(tmp_path / "gap")]) == 1
    assert f"for example {tmp_path / 'gap' / 'joint'}" in capsys.readouterr().err
    assert run(["evaluate", str(tmp_path / "half")]) == 1
    assert "go on with the same settings and train --resume" in capsys.readouterr().err
