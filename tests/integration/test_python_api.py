"""fit, evaluate, profile, load from Python, on data of every kind."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import anytimenet as an
from anytimenet.core.errors import DataError, TrainingError
from anytimenet.data import ImageSet, splits_from_datasets
from anytimenet.evaluation import budgeted_from_outputs
from anytimenet.tasks import Classification

CONFIG = an.TrainConfig(epochs=6, batch_size=16, lr=0.1, schedule="cosine", device="cpu")


def pictures(count: int, seed: int, size: int = 8) -> list[tuple[np.ndarray, int]]:
    """Dark (0) and light (1) noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return [(rng.integers(100 * y, 100 * y + 120, (size, size, 3), dtype=np.uint8), int(y)) for y in labels]


@pytest.fixture(scope="module")
def bundle() -> an.Bundle:
    torch.manual_seed(0)
    return an.fit(an.create_net("isresnext_tiny", num_classes=2), pictures(64, 0), config=CONFIG)


def test_a_list_of_pairs_is_enough_to_train_and_nothing_of_it_is_lost_to_a_test_part(bundle):
    assert bundle.num_stages == 3
    assert all(stage.val_accuracy is not None for stage in bundle.manifest.stages)
    splits = splits_from_datasets(pictures(64, 0), options=an.DataOptions(test_fraction=0))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (58, 6, 0)


def test_evaluating_a_dataset_judges_every_item_of_it_with_the_bundles_preprocessing(bundle):
    report = an.evaluate(bundle, pictures(50, 1))
    assert (report.count, report.split) == (50, "all")
    assert report.stages[-1].top1 > 0.9
    images = ImageSet(
        np.stack([image for image, _ in pictures(50, 1)]),
        np.array([[label] for _, label in pictures(50, 1)]),
        tuple(map(str, range(50))),
    )
    assert an.evaluate(bundle, images).stages == report.stages


def test_images_of_another_size_are_brought_to_the_bundles(bundle):
    assert an.evaluate(bundle, pictures(20, 2, size=24)).count == 20


def test_an_own_validation_set_selects(bundle):
    torch.manual_seed(0)
    ours = an.fit(
        an.create_net("resnet_tiny", num_classes=2), pictures(32, 0), pictures(10, 3), config=CONFIG
    )
    accuracies = {stage.val_accuracy for stage in ours.manifest.stages}
    assert all(round(10 * accuracy) == pytest.approx(10 * accuracy) for accuracy in accuracies)


def test_evaluation_and_prediction_agree(bundle):
    right = 0
    items = pictures(30, 4)
    for image, label in items:
        right += bundle.predict(image, stage=2).label == str(label)
    assert an.evaluate(bundle, items).stages[1].top1 == pytest.approx(right / len(items))


@pytest.mark.parametrize(
    "convert",
    [
        lambda image: image,
        lambda image: torch.from_numpy(image).permute(2, 0, 1),
        lambda image: torch.from_numpy(image).permute(2, 0, 1) / 255,
        Image.fromarray,
    ],
    ids=["array", "uint8 tensor", "float tensor", "PIL"],
)
def test_an_item_of_a_dataset_means_the_same_to_evaluate_and_predict(bundle, convert):
    items = [(convert(image), label) for image, label in pictures(16, 6)]
    right = sum(bundle.predict(image, stage=3).label == str(label) for image, label in items)
    assert an.evaluate(bundle, items).stages[2].top1 == pytest.approx(right / len(items))
    assert right >= 14


@pytest.mark.parametrize("classes", ["x", 2.5, True, None, (), (3, 0)])
def test_classes_that_are_no_numbers_are_refused(classes):
    with pytest.raises((TypeError, ValueError), match="a number, or one for each label level"):
        an.create_net("resnet_tiny", num_classes=classes)


def test_things_of_the_wrong_kind_are_refused_at_the_door(bundle):
    with pytest.raises(TypeError, match="net must be AnytimeNet, for example create_net"):
        an.fit(torch.nn.Linear(2, 2), "digits")
    with pytest.raises(TypeError, match="config must be TrainConfig"):
        an.fit(bundle.net, "digits", config={"epochs": 3})
    with pytest.raises(TypeError, match="bundle must be Bundle"):
        an.evaluate(bundle.net, "digits")
    with pytest.raises(TypeError, match="bundle must be Bundle"):
        an.profile(bundle.net)
    with pytest.raises(ValueError, match="split 'x' does not exist"):
        an.evaluate(bundle, pictures(4, 0), split="x")
    for stages in (1, "12", None, {1: 2}):
        with pytest.raises(TypeError, match="stages must be a list of whole numbers"):
            bundle.net.keep(stages)


def test_a_bundle_of_unnamed_data_says_that_the_data_must_be_given(bundle):
    with pytest.raises(DataError, match="data that has no name"):
        an.evaluate(bundle)


def test_data_with_other_classes_is_refused(bundle):
    with pytest.raises(DataError, match="classes of digits are not those"):
        an.evaluate(bundle, "digits")
    with pytest.raises(DataError, match=r"ids up to \[2\] and the bundle knows \[2\] classes"):
        an.evaluate(bundle, [(np.zeros((8, 8, 3), np.uint8), 2)])


def test_a_net_that_does_not_fit_the_data_is_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"build it with num_classes=\(10,\)"):
        an.fit(an.create_net("resnet_tiny", num_classes=3, in_channels=1), "digits")
    with pytest.raises(ValueError, match="build it with in_channels=1"):
        an.fit(an.create_net("resnet_tiny", num_classes=10), "digits")
    with pytest.raises(DataError, match="brings its own validation part"):
        an.fit(an.create_net("resnet_tiny", num_classes=10, in_channels=1), "digits", pictures(4, 0))


def test_another_seed_is_validated_on_other_images_and_tested_on_the_same(tmp_path):
    counts = []
    for seed in (0, 1):
        net = an.create_net("resnet_tiny", num_classes=10, in_channels=1)
        config = an.TrainConfig(epochs=1, seed=seed, device="cpu")
        ours = an.fit(net, "digits", config=config)
        ours.save(tmp_path / str(seed))
        again = an.load(tmp_path / str(seed))
        # The validation accuracy in the bundle is found again: the split is remembered with its seed.
        report = an.evaluate(again, split="val")
        assert report.stages[0].top1 == pytest.approx(ours.manifest.stages[0].val_accuracy)
        counts.append(ours.manifest.provenance["data"]["fingerprint"])
    assert counts[0] != counts[1]
    tests = [an.load_data("digits", an.DataOptions(seed=seed)).test.fingerprint for seed in (0, 1)]
    assert tests[0] == tests[1]


def test_profiling_adds_a_table_that_survives_saving_and_reports_show(bundle, tmp_path):
    table = an.profile(bundle, minutes=0.01)
    assert table.latency(0, 3).median_ms > 0
    bundle.save(tmp_path / "b")
    again = an.load(tmp_path / "b")
    assert again.cost_tables.keys() == bundle.cost_tables.keys()
    report = an.evaluate(again, pictures(8, 5))
    assert all(stage.latency_median_ms for stage in report.stages)


def test_two_label_levels_train_evaluate_and_predict():
    rng = np.random.default_rng(0)
    items = []
    for i in range(60):
        fine = i % 3
        items.append(
            (rng.integers(70 * fine, 70 * fine + 80, (8, 8, 3), dtype=np.uint8), (fine, int(fine > 0)))
        )
    torch.manual_seed(0)
    net = an.create_net("isresnext_tiny", num_classes=(3, 2))
    ours = an.fit(net, items, config=CONFIG)
    report = an.evaluate(ours, items)
    assert report.levels[0].level == 2
    assert report.levels[0].stages[-1].top1 > 0.8
    assert len(ours.predict(items[0][0]).coarser) == 1


def test_thresholds_of_one_dataset_are_judged_on_another_but_not_on_itself(bundle):
    val, test = an.collect_outputs(bundle, pictures(40, 2)), an.collect_outputs(bundle, pictures(50, 3))
    assert len(budgeted_from_outputs(val, test).points) == 39
    with pytest.raises(DataError, match="evaluated on the same images"):
        budgeted_from_outputs(val, val)


def test_the_training_split_of_a_limited_run_is_what_it_was_trained_on():
    options = an.DataOptions(limit=100)
    net = an.create_net("resnet_tiny", in_channels=1)
    limited = an.fit(net, an.load_data("digits", options), config=an.TrainConfig(epochs=1))
    assert an.evaluate(limited, split="train").count == 100
    assert an.evaluate(limited, split="test").count == 539


def test_what_belongs_to_a_task_is_said_once_and_remembered():
    net = an.create_net("resnet_tiny", in_channels=1)
    task = Classification((10,), augmentation=an.Augmentation(flip=False, pad=2))
    config = an.TrainConfig(epochs=1)
    trained = an.fit(net, "digits", config=config, task=task)
    assert trained.manifest.provenance["augmentation"] == {
        "class": "Augmentation",
        "flip": False,
        "pad": 2,
        "cutout": 0,
    }
    with pytest.raises(ValueError, match="augmentation belongs to the task"):
        an.fit(net, "digits", config=config, task=task, augmentation=an.Augmentation())
    with pytest.raises(ValueError, match="label_smoothing belongs to the task"):
        an.fit(net, "digits", config=an.TrainConfig(epochs=1, label_smoothing=0.1), task=task)


class PlainTask:
    """A task of one's own that is no dataclass: its repr has an address in it."""

    def __init__(self) -> None:
        self.own = Classification((2,))
        self.kind, self.scores = self.own.kind, self.own.scores
        self.num_classes, self.augmentation = (2,), None
        self.loss, self.meter, self.decode = self.own.loss, self.own.meter, self.own.decode


def test_a_run_with_a_task_of_ones_own_resumes(tmp_path):
    config = an.TrainConfig(epochs=1, batch_size=8, device="cpu")

    def fit(task, resume):
        net = an.create_net("resnet_tiny", num_classes=2)
        return an.fit(net, pictures(32, 0), config=config, task=task, out=tmp_path, resume=resume)

    fit(PlainTask(), resume=False)
    assert fit(PlainTask(), resume=True).manifest.provenance["task"] == "PlainTask"
    with pytest.raises(TrainingError, match=r"task was 'PlainTask', is {'class': 'Classification'"):
        fit(Classification((2,)), resume=True)


def test_what_cannot_learn_or_resume_is_refused_in_a_line(tmp_path):
    config = an.TrainConfig(epochs=1)
    net = an.create_net("resnet_tiny", in_channels=1)
    with pytest.raises(ValueError, match="resume needs the folder"):
        an.fit(net, "digits", config=config, resume=True)
    with pytest.raises(ValueError, match=r"weights are torch\.float64"):
        an.fit(net.double(), "digits", config=config)
    with pytest.raises(ValueError, match="no weight of this net can learn"):
        an.fit(net.float().requires_grad_(False), "digits", config=config)


def test_two_hand_made_nets_of_one_class_are_different_runs(tmp_path):
    def chain(width: int) -> an.ExitNet:
        blocks = [torch.nn.Conv2d(1, width, 3), torch.nn.Conv2d(width, width, 3)]
        return an.ExitNet(None, blocks, (1, 2), input_shape=(1, 8, 8))

    an.fit(chain(4), "digits", config=an.TrainConfig(epochs=1), out=tmp_path)
    with pytest.raises(TrainingError, match="belongs to another run"):
        an.fit(chain(6), "digits", config=an.TrainConfig(epochs=1), out=tmp_path, resume=True)


def test_fit_does_not_replace_a_run_in_its_folder(tmp_path):
    def train(**options):
        net = an.create_net("isresnext_tiny", num_classes=10, in_channels=1)
        config = an.TrainConfig(epochs=1, batch_size=32, device="cpu")
        return an.fit(
            net, an.load_data("digits", an.DataOptions(limit=64)), config=config, out=tmp_path, **options
        )

    train()
    before = (tmp_path / "checkpoints" / "last.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="holds a run already: choose another folder"):
        train()
    assert (tmp_path / "checkpoints" / "last.safetensors").read_bytes() == before
    train(resume=True)


@pytest.mark.parametrize(("images", "steps"), [(35, 3), (33, 2), (32, 2)])
def test_the_last_images_of_an_epoch_can_be_kept_unless_there_is_one_alone(tmp_path, images, steps):
    for drop_last, made in ((True, 2), (False, steps)):
        out = tmp_path / f"{drop_last}"
        config = an.TrainConfig(epochs=1, batch_size=16, device="cpu", drop_last=drop_last)
        an.fit(an.create_net("isresnext_tiny", 2), pictures(images, 0), pictures(8, 1), config, out=out)
        (row,) = map(json.loads, (out / "log.jsonl").read_text().splitlines())
        assert row["step"] == made
