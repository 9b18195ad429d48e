"""What a run wrote of its experiment starts the same one again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from anytimenet.cli.main import run
from anytimenet.cli.parsing import parse
from anytimenet.cli.train import Train
from anytimenet.core.errors import ExperimentError
from anytimenet.data import DataOptions, LargeImageAugmentation, MaskAugmentation, Mixing
from anytimenet.recipes import Experiment, StartedExperiment, list_recipes, recipe
from anytimenet.schemes import CalledWeights, Scheme, SieveWeights
from anytimenet.training import TrainConfig

EVERYTHING = Experiment(
    data="folder:photos",
    net="isresnext_tiny",
    net_arguments={"slices": [2, 2, 4], "init": "pytorch"},
    options=DataOptions(image_size=(96, 128), taxonomy={"cat": ["pet", "animal"]}, ignore_index=None, seed=3),
    config=TrainConfig(
        epochs=2, milestones=(0.2, 0.4), lr_factors=(0.5, 0.1), scheme=Scheme(weighting=SieveWeights())
    ),
    augmentation=LargeImageAugmentation(area=(0.2, 1.0), hue=0.1),
    stages=(1, 3),
    mixing=Mixing(mixup=0.2),
)


def written(path: Path, **values: Any) -> Path:
    path.write_text(json.dumps({"data": "digits", "net": "resnet_tiny", **values}))
    return path


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_is_read_back(tmp_path: Path, name: str) -> None:
    started = StartedExperiment(recipe(name).build(), name)
    started.write(tmp_path / "experiment.json")
    assert StartedExperiment.read(tmp_path / "experiment.json") == started


@pytest.mark.parametrize(
    "experiment",
    [EVERYTHING, replace(EVERYTHING, augmentation=MaskAugmentation(scale=(0.5, 2.0)), mixing=None)],
)
def test_every_field_is_read_back(tmp_path: Path, experiment: Experiment) -> None:
    started = StartedExperiment(experiment, init=Path("runs/a"), teacher=Path("runs/b"))
    started.write(tmp_path / "experiment.json")
    assert StartedExperiment.read(tmp_path) == started  # the folder of a run, too


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    found = StartedExperiment.read(written(tmp_path / "e.json", config={"epochs": 3}))
    assert found == StartedExperiment(Experiment("digits", "resnet_tiny", config=TrainConfig(epochs=3)))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"confg": {}}, "it has a key 'confg', which is none: did you mean 'config'?"),
        ({"config": {"epoch": 3}}, "config: it has a key 'epoch', which is none: did you mean 'epochs'?"),
        ({"config": {"epochs": "3"}}, r"config\.epochs must be a whole number, not '3'"),
        ({"config": {"epochs": 0}}, "config: epochs must be at least 1"),
        ({"config": []}, r"config must be a JSON object, not \[\]"),
        (
            {"config": {"scheme": {"weighting": {"member": "siev"}}}},
            r"config\.scheme: weighting has no member",
        ),
        ({"config": {"scheme": {"weigting": {}}}}, r"config\.scheme: a scheme has no hook 'weigting'"),
        ({"options": {"limit": -1}}, r"options\.limit must be at least 0"),
        ({"augmentation": {"padd": 3}}, "augmentation: it has a key 'padd'.*did you mean 'pad'"),
        ({"mixing": {"mixup": -1}}, "mixing: mixup must be at least 0"),
        ({"stages": [0]}, "stages must be at least 1"),
        ({"net_arguments": 3}, "net_arguments must be a JSON object"),
        ({"init": 3}, "init must be a path"),
        ({"net_arguments": {"num_classes": 5}}, "net_arguments has num_classes, and the data says how many"),
        ({"recipe": 5}, "recipe must be the name of a recipe, not 5"),
        ({"recipe": "../../outside"}, "recipe must be the name of a recipe"),
        ({"recipe": "/tmp/outside"}, "recipe must be the name of a recipe"),
        ({"version": 0}, "version must be at least 1"),
        ({"version": 2}, "it is of version 2, and this anytimenet reads 1 at most: upgrade anytimenet"),
        ({"version": "1"}, "version must be a whole number"),
        ({"format": "other"}, "format must be 'anytimenet-experiment'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        StartedExperiment.read(written(tmp_path / "e.json", **values))


@pytest.mark.parametrize("text", ["", "[1]", "nothing", '{"net": "resnet_tiny"}', "[" * 100_000])
def test_what_is_no_experiment_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(ExperimentError, match=r"e\.json describes no experiment: "):
        StartedExperiment.read(tmp_path / "e.json")


def test_functions_of_ones_own_are_told_and_cannot_be_read(tmp_path: Path) -> None:
    scheme = Scheme(weighting=CalledWeights(lambda stages: [1.0] * stages))
    experiment = Experiment("digits", "resnet_tiny", config=TrainConfig(scheme=scheme))
    StartedExperiment(experiment).write(tmp_path / "e.json")
    with pytest.raises(ExperimentError, match="weighting has no member 'CalledWeights'"):
        StartedExperiment.read(tmp_path / "e.json")


# --- on the command line ----------------------------------------------------------------------------------


def test_flags_beside_the_file_override_it(tmp_path: Path) -> None:
    StartedExperiment(EVERYTHING).write(tmp_path / "experiment.json")
    words = ["--config", str(tmp_path), "--epochs", "7", "--limit", "9", "--flip", "no", "--seed", "5"]
    experiment = parse("train", Train, words).experiment()
    assert experiment == replace(
        EVERYTHING,
        config=replace(EVERYTHING.config, epochs=7, seed=5),
        options=replace(EVERYTHING.options, limit=9, seed=5),
        augmentation=LargeImageAugmentation(area=(0.2, 1.0), hue=0.1, flip=False),
    )


def test_a_run_is_run_again_with_the_same_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "digits", "--net", "resnet_tiny", "--epochs", "1", "--limit", "100", "--seed", "3"]
    words += ["--scheme", "sieve", "--mixup", "0.2", "--quiet"]
    assert run([*words, "--out", str(tmp_path / "first")]) == 0
    assert (
        run(["train", "--config", str(tmp_path / "first"), "--quiet", "--out", str(tmp_path / "again")]) == 0
    )
    first, again = (StartedExperiment.read(tmp_path / name) for name in ("first", "again"))
    assert first == again
    assert (first.recipe, first.experiment.net) == ("digits", "resnet_tiny")
    for path in sorted((tmp_path / "first" / "bundle").glob("*.safetensors")):
        ours, theirs = load_file(path), load_file(tmp_path / "again" / "bundle" / path.name)
        assert ours.keys() == theirs.keys()
        assert all((ours[name] == theirs[name]).all() for name in ours)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["digits", "--config", "e.json"], 1, "digits and --config are two experiments: give one of the two"),
        (["--config", "missing.json"], 1, "missing.json: No such file"),
        ([], 2, "RECIPE is missing; anytimenet train --help explains"),
        (["digits", "--milestones", "0.2"], 1, "--milestones and --lr-factors are for --schedule multistep"),
        (["segmentation", "--area", "0.5", "1"], 1, "--area: for labels of whole images"),
    ],
)
def test_one_experiment_is_needed(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", *words]) == code
    assert said in capsys.readouterr().err


def test_a_folder_of_several_runs_says_which_it_holds(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"has no experiment\.json$"):
        StartedExperiment.read(tmp_path)
    (tmp_path / "seed-0").mkdir()
    written(tmp_path / "seed-0" / "experiment.json")
    with pytest.raises(ExperimentError, match=r"it holds several runs, give one: .*seed-0$"):
        StartedExperiment.read(tmp_path)
