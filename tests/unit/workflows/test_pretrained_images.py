"""Images look to trained weights as when those were trained: in training, evaluation and prediction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anytimenet.bundle import Bundle
from anytimenet.core.errors import DataError
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.data import DataOptions, DataSplits, load_data, options_for, splits_from_datasets
from anytimenet.nets import AnytimeNet, create_net, register_net
from anytimenet.nets.depth.efficientnet_lite import efficientnet_lite
from anytimenet.nets.pretrained.weights import PretrainedWeights
from anytimenet.recipes import Experiment, run, run_alone
from anytimenet.recipes.start import Start
from anytimenet.training import TrainConfig
from anytimenet.training.checkpoints import Checkpoint
from anytimenet.workflows import evaluate, fit
from anytimenet.workflows.plan import _batches_of_two

KNOWN = Pretraining((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 16, "a test")
ONE_EPOCH = TrainConfig(epochs=1, batch_size=8, statistics="running", schedule="cosine")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of photographs of two classes, of several sizes, some of them grey."""
    rng = np.random.default_rng(0)
    for number in range(24):
        shape = (20 + number, 30) if number % 3 == 0 else (24, 18 + number, 3)
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def name() -> str:
    """A registered net that comes with weights."""

    def build(num_classes: tuple[int, ...] = (10,), in_channels: int = 3) -> AnytimeNet:
        groups = ((3, 1, 1, 4, 1), (3, 2, 2, 6, 1))
        return efficientnet_lite(
            num_classes,
            groups=groups,
            exits_after=(1, 2),
            stem_channels=4,
            top_channels=8,
            in_channels=in_channels,
        )

    def fill(net: AnytimeNet) -> None:
        with torch.no_grad():
            next(net.parameters()).fill_(0.25)

    weights = PretrainedWeights(KNOWN, fill)
    register_net("knowing", input_shape=(3, 16, 16), summary="a test", pretrained=weights)(build)
    return "knowing"


def photos_of_one_size(photos: Path) -> DataSplits:
    return load_data(photos, image_size=16, channels=3)


def known_by(splits: object) -> bool:
    p = splits.preprocessing  # type: ignore[attr-defined]
    return (p.mean, p.std, p.channels) == (KNOWN.mean, KNOWN.std, 3)


def test_fit_loads_a_folder_as_the_weights_know_images_and_the_bundle_reads_them_so(
    photos: Path, name: str
) -> None:
    bundle = fit(create_net(name, 2, pretrained=True), photos, config=ONE_EPOCH)
    p = bundle.manifest.preprocessing
    assert known_by(bundle.manifest)
    assert (p.height, p.width) == (16, 16)
    assert evaluate(bundle, photos, split="val").stages, "the same images are found again"
    image = next(photos.rglob("*.png"))
    x = torch.from_numpy(p.standardise(p.decode(image)[None]))
    with torch.no_grad():
        (logits,) = bundle.net(x, [2])[0]
    found = bundle.predict(image, stage=2)
    assert found.probabilities == pytest.approx(logits.softmax(1)[0].tolist(), abs=1e-5)


def test_splits_that_were_loaded_before_are_standardised_anew_unless_that_was_chosen(
    photos: Path, name: str
) -> None:
    net = create_net(name, 2, pretrained=True)
    loaded = load_data(photos, image_size=16, channels=3)
    assert not known_by(loaded)
    assert known_by(loaded.suited_to(KNOWN))
    assert (
        loaded.suited_to(KNOWN).fingerprint == load_data(photos, image_size=16, pretraining=KNOWN).fingerprint
    )
    assert known_by(fit(net, loaded, config=ONE_EPOCH).manifest)
    chosen = load_data(photos, image_size=16, channels=3, standardise="data")
    assert chosen.suited_to(KNOWN) is chosen
    assert fit(create_net(name, 2, pretrained=True), chosen, config=ONE_EPOCH).manifest.preprocessing == (
        chosen.preprocessing
    )


def test_a_dataset_is_standardised_as_the_weights_know_images(name: str) -> None:
    items = [(np.full((16, 16, 3), 9 * i, np.uint8), i % 2) for i in range(20)]
    assert known_by(fit(create_net(name, 2, pretrained=True), items, config=ONE_EPOCH).manifest)
    assert splits_from_datasets(items).suited_to(KNOWN).preprocessing.mean == KNOWN.mean


def test_a_checkpoint_says_how_images_looked_to_its_weights(photos: Path, name: str, tmp_path: Path) -> None:
    fit(create_net(name, 2, pretrained=True), photos, config=ONE_EPOCH, out=tmp_path / "run")
    best, last = (tmp_path / "run" / "checkpoints" / f"{kind}.safetensors" for kind in ("best", "last"))
    for start in (best, last):
        bundle = fit(create_net(name, 2), photos, config=ONE_EPOCH, init=start)
        assert (bundle.manifest.preprocessing.mean, bundle.manifest.preprocessing.std) == (
            KNOWN.mean,
            KNOWN.std,
        )
        assert bundle.manifest.provenance["weights"] == f"a test, by way of {start}"
    experiment = Experiment(f"folder:{photos}", name, options=DataOptions(image_size=16), config=ONE_EPOCH)
    assert known_by(Start.of(experiment, init=best).splits)


def test_a_checkpoint_of_old_leaves_the_images_to_the_net(photos: Path, name: str, tmp_path: Path) -> None:
    fit(create_net(name, 2, pretrained=True), photos, config=ONE_EPOCH, out=tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "best.safetensors"
    checkpoint = Checkpoint.load(path)
    old = {key: value for key, value in checkpoint.run.items() if key != "images"}
    replace(checkpoint, run=old).save(path)
    bundle = fit(create_net(name, 2, pretrained=True), photos, config=ONE_EPOCH, init=path)
    assert (bundle.manifest.preprocessing.mean, bundle.manifest.preprocessing.std) == (KNOWN.mean, KNOWN.std)
    assert bundle.manifest.provenance["weights"] == "a test"


def test_a_run_of_old_goes_on_that_does_not_say_how_images_look(
    photos: Path, name: str, tmp_path: Path
) -> None:
    fit(create_net(name, 2, pretrained=True), photos, config=ONE_EPOCH, out=tmp_path / "run")
    for kind in ("best", "last"):
        path = tmp_path / "run" / "checkpoints" / f"{kind}.safetensors"
        checkpoint = Checkpoint.load(path)
        old = {key: value for key, value in checkpoint.run.items() if key != "images"}
        replace(checkpoint, run=old).save(path)
    again = create_net(name, 2, pretrained=True)
    bundle = fit(again, photos, config=ONE_EPOCH, out=tmp_path / "run", resume=True)
    assert bundle.manifest.provenance["best_epoch"] == 1


def test_no_optimality_gap_is_taken_of_trained_weights(photos: Path, name: str, tmp_path: Path) -> None:
    experiment = Experiment(f"folder:{photos}", name, config=ONE_EPOCH, pretrained=True)
    by_argument = replace(experiment, pretrained=False, net_arguments={"pretrained": True})
    for one in (experiment, by_argument):
        with pytest.raises(
            ValueError, match="start from fresh weights, and this experiment starts from train"
        ):
            run_alone(one, tmp_path / "gap")
    assert not (tmp_path / "gap").exists()


def test_images_that_look_otherwise_to_the_weights_are_told(
    photos: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """For example those that were loaded for another net."""
    other = Pretraining((0.5,) * 3, (0.25,) * 3, 16, "another test")
    told = "images are standardised as the data says (mean 0.5 0.5 0.5, std 0.25 0.25 0.25) and not as the"
    for pretraining, is_told in ((other, True), (KNOWN, False), (None, False)):
        splits = load_data(photos, pretraining=pretraining, image_size=16, channels=3)
        fit(create_net(name, 2, pretrained=True), splits, config=ONE_EPOCH, progress=False)
        assert (told in capsys.readouterr().err) == is_told


def test_options_say_mean_and_std(photos: Path) -> None:
    options = DataOptions(image_size=16, mean=KNOWN.mean, std=KNOWN.std)
    assert DataOptions.from_dict(options.to_dict()) == options
    assert known_by(load_data(photos, options))
    assert known_by(load_data(photos, options, in_memory=True))
    assert (
        options_for("folder:x", options, Pretraining((0.0,) * 3, (1.0,) * 3, 8, "other")).mean == KNOWN.mean
    )
    with pytest.raises(DataError, match="take channels=3"):
        load_data("digits", mean=KNOWN.mean, std=KNOWN.std)
    assert load_data("digits", pretraining=KNOWN).preprocessing.height == 8, "data by name keeps its size"


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"mean": (0.5,)}, "belong together"),
        ({"mean": (0.5,), "std": (1.0, 1.0)}, "belong together"),
        ({"mean": (0.5, 0.5), "std": (1.0, 1.0)}, "1 or 3"),
        ({"mean": (0.5,), "std": (0.0,)}, "std"),
        ({"mean": (0.5,), "std": (1.0,), "standardise": "data"}, "give one of the two"),
    ],
)
def test_statistics_that_cannot_be_are_refused(values: dict[str, object], match: str) -> None:
    with pytest.raises(DataError, match=match):
        DataOptions(**values)  # type: ignore[arg-type]


def test_a_recipe_loads_its_data_as_the_weights_know_images(photos: Path, name: str, tmp_path: Path) -> None:
    experiment = Experiment(f"folder:{photos}", name, pretrained=True, config=ONE_EPOCH)
    assert Experiment.from_dict(experiment.to_dict()) == experiment
    start = Start.of(experiment)
    assert known_by(start.splits)
    assert next(start.net.parameters()).unique().tolist() == [0.25]
    run(experiment, tmp_path / "out", quiet=True)
    bundle = Bundle.load(tmp_path / "out")
    assert known_by(bundle.manifest)
    assert bundle.manifest.provenance["weights"] == "a test"
    assert "trained weights: a test." in (tmp_path / "out" / "bundle" / "README.md").read_text()
    again = Start.of(Experiment(f"folder:{photos}", name, config=ONE_EPOCH), init=tmp_path / "out")
    assert known_by(again.splits), "a bundle is a pretrained net, too"
    assert again.splits.preprocessing == bundle.manifest.preprocessing
    tuned = fit(create_net(name, 2), photos, config=ONE_EPOCH, init=tmp_path / "out")
    assert tuned.manifest.preprocessing == bundle.manifest.preprocessing
    assert tuned.manifest.provenance["weights"] == f"a test, by way of {tmp_path / 'out'}"
    assert (
        "weights"
        not in fit(create_net(name, 2), photos_of_one_size(photos), config=ONE_EPOCH).manifest.provenance
    )


@pytest.mark.parametrize("images", [2, 3, 16, 64, 65, 129, 4033])
def test_heads_that_learn_alone_see_every_image_in_batches_of_two_or_more(images: int) -> None:
    """A BatchNorm cannot learn from one example."""
    size = _batches_of_two(images)
    assert 2 <= size <= 64
    assert images % size != 1
