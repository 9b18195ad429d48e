"""Every published scheme trains from the command line, and goes on after an interruption bit for bit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from anytimenet.cli.main import run
from anytimenet.schemes import list_schemes
from anytimenet.training.step import TrainingStep

# Five exits, so that the published windows and groups of three cut something.
CHAIN = ["resnext_exits_tiny", "--net-args", "exits_after=[1,2,3,4,5]", "blocks=[2,2,1]"]
COMMON = ["--quiet", "--epochs", "2", "--checkpoint-steps", "1", "--batch-size", "16", "--device", "cpu"]


class PowerCutError(BaseException):
    """Stands for a power cut: nothing may catch it."""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("teacher")
    coarse = {str(digit): "odd" if digit % 2 else "even" for digit in range(10)}
    (out / "coarse.json").write_text(json.dumps(coarse))
    train = ["train", "digits", "--net", "resnet_tiny", *COMMON, "--limit", "48", "--out", str(out / "run")]
    assert run(train) == 0
    path: Path = out / "run" / "bundle"
    return path


@pytest.fixture(scope="module")
def taught_on_pictures(pictures, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("taught")
    (out / "coarse.json").write_text(json.dumps({"left": "any", "right": "any"}))
    train = ["train", "folder", "--data", f"folder:{pictures}", "--net", "resnet_tiny", *COMMON]
    assert run([*train, "--out", str(out / "run")]) == 0
    path: Path = out / "run" / "bundle"
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder of two classes, 32 pictures each, grey on the left or on the right."""
    root: Path = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for side, name in enumerate(("left", "right")):
        (root / name).mkdir()
        for number in range(32):
            pixels = rng.integers(0, 60, (8, 8), dtype=np.uint8)
            pixels[:, 4 * side : 4 * side + 4] += 150
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def command(scheme: str, teacher: Path, *words: str) -> list[str]:
    given = ["--teacher", str(teacher)] if scheme == "teacher" else []
    if scheme == "coarse_to_fine":
        given = ["--taxonomy", str(teacher.parents[1] / "coarse.json")]
    if scheme == "adaloss":  # so that its weights move within the few steps of these runs
        given = ["--scheme-args", "weighting.every=2"]
    return ["train", *words, "--net", *CHAIN, "--scheme", scheme, *given, *COMMON]


def final_state(folder: Path) -> dict[str, np.ndarray]:
    """Net, optimiser, scheme and generators after the last step (the bundle has those of the best epoch)."""
    return load_file(folder / "checkpoints" / "last.safetensors")


def power_cut(*_: object) -> None:
    raise PowerCutError


def cut_after(monkeypatch, steps: int) -> None:
    """Power fails in the step after `steps` steps of this process."""
    step = TrainingStep.take
    done: list[int] = []

    def cut(self, x, labels, position):
        if len(done) == steps:
            raise PowerCutError
        done.append(1)
        return step(self, x, labels, position)

    monkeypatch.setattr(TrainingStep, "take", cut)


@pytest.mark.parametrize("scheme", list_schemes())
def test_a_scheme_trains_on_digits_and_an_interrupted_run_ends_with_equal_weights(
    scheme, teacher, tmp_path, monkeypatch
):
    assert_resumes(command(scheme, teacher, "digits", "--limit", "48"), tmp_path, monkeypatch)


def assert_resumes(words, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("anytimenet.recipes.runner._evaluate", power_cut)  # what follows is the same for all
    with pytest.raises(PowerCutError):
        run([*words, "--out", str(tmp_path / "whole")])
    with monkeypatch.context() as patched:
        cut_after(patched, 4)  # in the middle of the second epoch
        with pytest.raises(PowerCutError):
            run([*words, "--out", str(tmp_path / "cut")])
    with pytest.raises(PowerCutError):
        run([*words, "--out", str(tmp_path / "cut"), "--resume"])
    ours, expected = final_state(tmp_path / "cut"), final_state(tmp_path / "whole")
    assert ours.keys() == expected.keys()
    assert all((ours[key] == expected[key]).all() for key in expected)


ACROSS_PASSES = ["adaloss", "distilled", "ema_teacher", "osgd", "sieve_alternating", "slimmable", "td"]


@pytest.mark.parametrize("scheme", ACROSS_PASSES)
def test_the_same_on_a_net_with_a_pass_for_every_stage(scheme, teacher, tmp_path, monkeypatch):
    words = command(scheme, teacher, "digits", "--limit", "48")
    words[words.index("--net") + 1 : words.index("--scheme")] = ["iresnext_tiny"]
    assert_resumes(words, tmp_path, monkeypatch)


@pytest.mark.parametrize("scheme", list_schemes())
def test_a_scheme_trains_on_a_folder_of_pictures(scheme, taught_on_pictures, pictures, tmp_path, capsys):
    words = command(scheme, taught_on_pictures, "folder", "--data", f"folder:{pictures}")
    assert run([*words, "--out", str(tmp_path), "--json"]) == 0, capsys.readouterr().err
    lines = capsys.readouterr().out
    stages = json.loads(lines[lines.index("{") :])["stages"]
    assert len(stages) == 5
    told = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    scheme_told = told["provenance"]["config"]["scheme"]
    assert scheme_told == scheme or (scheme == "adaloss" and scheme_told["weighting"]["every"] == 2)


def test_a_changed_scheme_is_remembered_and_another_one_is_not_resumed(tmp_path, capsys):
    words = ["train", "digits", "--net", *CHAIN, "--limit", "48", *COMMON, "--out", str(tmp_path)]
    changed = ["--scheme", "block_dependent", "--scheme-args", "gradients.window=2", "targets=distillation"]
    assert run([*words, *changed]) == 0, capsys.readouterr().err
    told = json.loads((tmp_path / "bundle" / "bundle.json").read_text())["provenance"]["config"]["scheme"]
    assert told["gradients"] == {"member": "block_dependent", "window": 2, "include_final": False}
    assert told["targets"]["member"] == "distillation"
    capsys.readouterr()
    assert run([*words, "--scheme", "block_dependent", "--resume"]) == 1
    said = capsys.readouterr().err
    assert "scheme gradients window was 2, is 3" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scheme", "sive"], "did you mean 'sieve'"),
        (["--scheme", "block_dependent", "--net", "isresnext_tiny"], "ISResNeXt is none: take a net"),
        (["--scheme", "equilibrium", "--net", "iresnext_tiny"], "between the blocks of a chain"),
        (["--scheme-args", "gradients=block_dependent", "gradients.window=9"], "larger than the net's 5"),
        (["--scheme-args", "gradients.window=2"], "sum has no field 'window'"),
        (["--scheme-args", "weighting=sive"], "did you mean 'sieve'"),
        (["--scheme-args", "weigting=sieve"], "did you mean 'weighting'"),
        (
            ["--scheme-args", "weighting=given", "weighting.weights=[0,0,0,0,0]"],
            "no stage has a weight above 0",
        ),
        (["--scheme-args", "weighting=given", "weighting.weights=[1,-1,1,1,1]"], "0 or more"),
        (["--scheme-args", "weighting=given", "weighting.weights=[1,1]"], "5 stages"),
        (["--scheme-args", "weighting.total=0"], "positive"),
        (["--scheme-args", "targets=distillation", "targets.temperature=0"], "temperature"),
        (["--scheme-args", "targets=td", "targets.decay=2"], "from 0 to 1"),
        (["--scheme-args", "weighting"], "KEY=VALUE is needed"),
        (["--scheme", "teacher"], "give --teacher BUNDLE"),
        (["--scheme", "coarse_to_fine"], "--taxonomy FILE"),
        (["--scheme-args", "targets.levels=3"], "one of all, coarse_to_fine or a list"),
        (["--scheme", "slimmable", "--scheme-args", "sampling.random=-1"], "0 or more"),
        (["--scheme", "slimmable", "--scheme-args", "sampling.random=1.5"], "a whole number is needed"),
        (["--scheme-args", "gradients=block_dependent", "gradients.include_final=no"], "true or false"),
        (["--scheme-args", "targets=distillation", "targets.squared_temperature=False"], "true or false"),
        (["--scheme-args", "weighting=sieve", "weighting.version=5"], "one of text, from_end"),
        (["--scheme-args", "weighting=[1]"], "has no member"),
        (["--scheme", "drawn", "--scheme-args", "targets=distillation"], "must run in every step"),
        (["--scheme", "drawn", "--scheme-args", "targets=ema_teacher"], "must run in every step"),
        (
            [
                "--scheme",
                "drawn",
                "--scheme-args",
                "sampling.weights=[1,1,1,1,0]",
                "weighting=given",
                "weighting.weights=[0,0,0,0,1]",
            ],
            "every stage that may run has the weight 0",
        ),
    ],
)
def test_a_scheme_that_cannot_be_is_one_line_that_says_what_to_change(words, said, tmp_path, capsys):
    net = [] if "--net" in words else ["--net", *CHAIN]
    command_line = ["train", "digits", "--limit", "48", *net, *COMMON, *words, "--out", str(tmp_path)]
    assert run(command_line) == 1
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert error.count("\n") == 1
    assert "unexpected" not in error


def test_a_refused_scheme_is_not_in_the_way_of_the_corrected_command(tmp_path, capsys):
    words = ["train", "digits", "--limit", "48", "--net", *CHAIN, *COMMON, "--out", str(tmp_path)]
    assert run([*words, "--scheme-args", "gradients=block_dependent", "gradients.window=9"]) == 1
    assert run(words) == 0, capsys.readouterr().err


def test_a_teacher_that_no_stage_learns_from_is_refused(teacher, tmp_path, capsys):
    words = ["train", "digits", "--limit", "48", "--net", *CHAIN, *COMMON, "--out", str(tmp_path)]
    assert run([*words, "--scheme", "distilled", "--teacher", str(teacher)]) == 1
    assert "learns from no given teacher: leave the teacher out" in capsys.readouterr().err


def test_losses_of_drawn_stages_are_means_over_the_steps_in_which_they_ran(tmp_path):
    words = ["train", "digits", "--limit", "48", "--net", *CHAIN, *COMMON, "--out", str(tmp_path)]
    assert run([*words, "--scheme", "drawn", "--scheme-args", "sampling.weights=[1,0,1,0,0]"]) == 0
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        losses = json.loads(line)["losses"]
        assert len(losses) == 5
        assert losses[1] is losses[3] is losses[4] is None
        # Cross-entropy of ten classes at the beginning, whatever the share of the steps.
        assert all(loss is None or 1.5 < loss < 5 for loss in losses)


def test_a_teacher_with_other_classes_is_refused(teacher, pictures, tmp_path, capsys):
    words = command("teacher", teacher, "folder", "--data", f"folder:{pictures}")
    assert run([*words, "--out", str(tmp_path)]) == 1
    assert "the teacher knows 10 classes and the data has 2" in capsys.readouterr().err


def test_a_teacher_of_another_split_sees_images_as_it_was_taught(teacher, tmp_path, monkeypatch, capsys):
    """Mean and std differ with the split; what the teacher says of an image does not."""
    from anytimenet.bundle import Bundle
    from anytimenet.data import DataOptions, load_data
    from anytimenet.workflows.teachers import teacher_net

    bundle = Bundle.load(teacher)
    other = load_data("digits", DataOptions(seed=7, limit=300))
    assert other.preprocessing != bundle.manifest.preprocessing
    net, image = teacher_net(teacher, other).eval(), other.test.images[:1]
    ours = torch.from_numpy(other.preprocessing.standardise(image))
    theirs = torch.from_numpy(bundle.manifest.preprocessing.standardise(image))
    (given,) = net(ours)
    ((wanted,),) = bundle.net.eval()(theirs)
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-4)
    words = command("teacher", teacher, "digits", "--limit", "48", "--seed", "3")
    assert run([*words, "--out", str(tmp_path)]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (["--scheme", "block_dependent", "--scheme-args", "gradients.window=9"], "a window of 9 exits"),
        (["--net", "isresnext_tiny", "--scheme", "block_dependent"], "between the blocks of a chain"),
        (["--scheme", "teacher"], "learns from a given teacher"),
        (["--devices", "3"], "a batch of 16 cannot be shared by 3 processes"),
    ],
)
@pytest.mark.parametrize("seeds", [[], ["--seeds", "1,2"]])
def test_overwrite_deletes_nothing_for_a_run_that_is_refused(bad, words, seeds, tmp_path, capsys):
    train = ["train", "digits", "--limit", "48", "--net", CHAIN[0], *COMMON, *seeds, "--out", str(tmp_path)]
    assert run(train) == 0
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    capsys.readouterr()
    assert run([*train, *bad, "--overwrite"]) == 1
    assert words in capsys.readouterr().err
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    assert run([*train, "--overwrite"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--teacher", "--init"])
def test_overwrite_does_not_delete_the_bundle_that_it_is_given(flag, tmp_path, capsys):
    words = ["train", "digits", "--limit", "48", "--net", CHAIN[0], *COMMON, "--out", str(tmp_path / "run")]
    assert run(words) == 0
    scheme = ["--scheme", "teacher"] if flag == "--teacher" else []
    assert run([*words, "--overwrite", *scheme, flag, str(tmp_path / "run")]) == 1
    assert "choose another --out" in capsys.readouterr().err
    assert (tmp_path / "run" / "bundle" / "bundle.json").exists()
