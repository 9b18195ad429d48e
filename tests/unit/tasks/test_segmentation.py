"""The segmentation task against closed forms and counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anytimenet.core.errors import DataError
from anytimenet.core.labels.confusion import class_ious, mean_iou, pixel_accuracy
from anytimenet.tasks import Segmentation

IGNORED = 255


def masks(*shape: int, classes: int = 4, ignored: float = 0.3, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, classes, shape)
    return torch.from_numpy(np.where(rng.random(shape) < ignored, IGNORED, mask))


def logits_of(mask: torch.Tensor, classes: int) -> torch.Tensor:
    """Logits that answer `mask` (ids from 0) with certainty."""
    return F.one_hot(mask, classes).permute(0, 3, 1, 2).float() * 50


def ious_by_hand(answers: list[np.ndarray], truths: list[np.ndarray], classes: int) -> list[float | None]:
    """Intersection over union of each class, counted pixel by pixel."""
    found: list[float | None] = []
    for c in range(classes):
        hits = union = 0
        for answer, truth in zip(answers, truths, strict=True):
            for a, t in zip(answer.flat, truth.flat, strict=True):
                if t != IGNORED:
                    hits += a == c and t == c
                    union += a == c or t == c
        found.append(hits / union if union else None)
    return found


def test_the_loss_of_uniform_logits_is_the_log_of_the_number_of_classes_whatever_is_ignored():
    loss = Segmentation((5,)).loss((torch.zeros(2, 5, 3, 4),), (masks(2, 6, 8, classes=5),))
    assert loss.item() == pytest.approx(math.log(5), rel=1e-6)


def test_the_loss_is_the_mean_over_the_counted_pixels_of_the_batch():
    torch.manual_seed(0)
    logits, mask = torch.randn(3, 4, 5, 6), masks(3, 5, 6)
    mask[1] = IGNORED  # a picture without any counted pixel
    terms = [
        -logits[n, :, y, x].log_softmax(0)[mask[n, y, x]].item()
        for n in range(3)
        for y in range(5)
        for x in range(6)
        if mask[n, y, x] != IGNORED
    ]
    loss = Segmentation((4,)).loss((logits,), (mask,))
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_class_weights_make_it_a_weighted_mean():
    torch.manual_seed(0)
    logits, mask, weights = torch.randn(2, 3, 4, 5), masks(2, 4, 5, classes=3), (0.5, 0.0, 2.0)
    loss = Segmentation((3,), class_weights=weights).loss((logits,), (mask,))
    expected = F.cross_entropy(logits, mask, torch.tensor(weights), ignore_index=IGNORED)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("weights", [None, (1.0, 2.0)])
def test_a_batch_without_counted_pixels_gives_no_loss_and_no_gradient(weights):
    logits = torch.randn(2, 2, 3, 3, requires_grad=True)
    loss = Segmentation((2,), class_weights=weights).loss((logits,), (torch.full((2, 6, 6), IGNORED),))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_a_batch_whose_counted_pixels_weigh_nothing_gives_no_loss():
    mask = torch.zeros(1, 3, 3, dtype=torch.long)
    assert Segmentation((2,), class_weights=(0, 1)).loss((torch.randn(1, 2, 3, 3),), (mask,)).item() == 0


def test_ignored_pixels_get_no_gradient():
    logits, mask = torch.randn(2, 4, 5, 6, requires_grad=True), masks(2, 5, 6)
    Segmentation((4,), label_smoothing=0.1).loss((logits,), (mask,)).backward()
    touched = logits.grad.abs().sum(1) > 0
    assert torch.equal(touched, mask != IGNORED)


def test_logits_are_resized_between_pixel_centres():
    # Two columns of logits 0 and 1 over four pixels: at 1/4, 3/4, ... of the way, flat at the border.
    task, logits = Segmentation((2,)), torch.tensor([[[[0.0, 1.0]], [[0.0, 0.0]]]])
    expected = torch.tensor([0.0, 0.25, 0.75, 1.0])
    loss = task.loss((logits,), (torch.ones(1, 1, 4, dtype=torch.long),))
    assert loss.item() == pytest.approx(torch.log1p(expected.exp()).mean().item(), rel=1e-6)
    assert task.class_map(
        (logits - 0.5 * torch.tensor([1.0, 0.0])[None, :, None, None],), (1, 4)
    ).tolist() == [[[1, 1, 0, 0]]]


def test_bf16_logits_are_judged_in_float32():
    logits = torch.randn(1, 3, 4, 4).bfloat16()
    assert Segmentation((3,)).loss((logits,), (masks(1, 4, 4, classes=3),)).dtype == torch.float32


def test_the_meter_agrees_with_counting_by_hand_over_unequal_batches():
    classes, task = 5, Segmentation((5,))
    meter, answers, truths = task.meter(), [], []
    for seed, count in enumerate((3, 1)):
        truth = masks(count, 6, 7, classes=3, seed=seed)  # class 3 and 4 are never the truth
        answer = masks(count, 6, 7, classes=4, ignored=0, seed=seed + 10)  # class 4 is never answered
        meter.update(2, (logits_of(answer, classes),), (truth,))
        answers.append(answer.numpy())
        truths.append(truth.numpy())
    expected = ious_by_hand(answers, truths, classes)
    assert expected[4] is None
    assert expected[3] == 0
    present = [iou for iou in expected if iou is not None]
    assert meter.scores() == {2: pytest.approx(sum(present) / 4, abs=1e-12)}
    assert class_ious(meter.confusion(2)) == pytest.approx(expected)
    right = sum((a == t).sum() for a, t in zip(answers, truths, strict=True))
    counted = sum((t != IGNORED).sum() for t in truths)
    assert meter.stage_scores(2)["pixel_accuracy"] == pytest.approx(right / counted)
    assert meter.confusion(2).dtype == np.int64
    assert meter.confusion(2).sum() == counted


def test_meters_of_two_processes_add_up_to_one_of_all_images_also_where_one_saw_nothing():
    task = Segmentation((4,))
    pairs = [(logits_of(masks(2, 5, 5, ignored=0, seed=s), 4), masks(2, 5, 5, seed=s + 5)) for s in range(2)]
    whole, parts = task.meter(), [task.meter(), task.meter(), task.meter()]
    for part, (logits, truth) in zip(parts, pairs, strict=False):
        part.update(1, (logits,), (truth,))
        whole.update(1, (logits,), (truth,))
    for part in parts[1:]:
        part.confusion(1)  # the third has seen no image and takes part all the same
    total = sum(torch.from_numpy(part.confusion(1)) for part in parts)
    for part in parts:
        part.add_up([1], lambda _: total)
        assert part.scores() == whole.scores()
        assert part.stage_scores(1) == whole.stage_scores(1)


def test_nothing_counted_scores_nothing():
    meter = Segmentation((3,)).meter()
    meter.update(1, (torch.zeros(1, 3, 2, 2),), (torch.full((1, 4, 4), IGNORED),))
    assert meter.scores() == {1: 0.0}
    assert meter.stage_scores(1)["pixel_accuracy"] == 0.0


def test_scores_in_closed_form():
    confusion = np.array([[6, 2], [1, 1]])
    assert class_ious(confusion) == [6 / 9, 1 / 4]
    assert mean_iou(confusion) == pytest.approx((6 / 9 + 1 / 4) / 2)
    assert pixel_accuracy(confusion) == 7 / 10


@pytest.mark.parametrize("matrix", [np.zeros((2, 3), int), np.zeros((2, 2)), -np.eye(2, dtype=int)])
def test_what_is_no_confusion_matrix_is_refused(matrix):
    with pytest.raises(DataError, match="a confusion matrix holds counts"):
        mean_iou(matrix)


def test_decoding_gives_probabilities_of_every_pixel():
    (probabilities,) = Segmentation((4,)).decode((torch.randn(2, 4, 3, 5),))
    assert probabilities.shape == (2, 4, 3, 5)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 3, 5, dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"num_classes": (4, 2)}, "segmentation has one label level"),
        ({"num_classes": (256,)}, "256 classes are too many, one byte a pixel has room for 255"),
        ({"num_classes": (2,), "class_weights": (1.0,)}, "2 finite numbers from 0 on"),
        ({"num_classes": (2,), "class_weights": (0.0, 0.0)}, "not all of them 0"),
        ({"num_classes": (2,), "class_weights": (1.0, -1.0)}, "class_weights must be at least 0"),
        ({"num_classes": (2,), "label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, why):
    with pytest.raises(ValueError, match=why):
        Segmentation(**arguments)


def test_logits_of_whole_images_are_refused_with_the_cure():
    with pytest.raises(ValueError, match="take a segmentation net, such as fcn_exits"):
        Segmentation((3,)).loss((torch.zeros(2, 3),), (torch.zeros(2, 4, 4, dtype=torch.long),))
