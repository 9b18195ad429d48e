"""What the stages learn from larger ones: each against the formula computed straight from forward()."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from anytimenet.nets import create_net
from anytimenet.schemes import FromLabels, RunFacts, Scheme
from anytimenet.schemes.hooks import Lesson
from anytimenet.schemes.sampling import DrawnStages, Sandwich
from anytimenet.schemes.targets.bootstrapping import TDLambda
from anytimenet.schemes.targets.distillation import Distillation
from anytimenet.schemes.targets.soft import divergence, soft_cross_entropy
from anytimenet.schemes.targets.teachers import EMATeacher
from anytimenet.tasks import Classification

NETS = ["isresnext_tiny", "iresnext_tiny"]  # one graph, one pass for each stage


def criterion(output, labels):
    return sum(F.cross_entropy(z, y) for z, y in zip(output, labels, strict=True))


def kl(teacher, student, temperature=1.0):
    total = 0
    for t, z in zip(teacher, student, strict=True):
        p, q = (t.detach() / temperature).softmax(1), (z / temperature).softmax(1)
        total = total + (p * (p.log() - q.log())).sum(1).mean()
    return total


def batch(classes=(4,), mixed=False):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
    labels = tuple(torch.randint(0, count, (6,), generator=generator) for count in classes)
    if mixed:
        labels = tuple(
            0.7 * F.one_hot(y, c).double() + 0.3 * F.one_hot(y.flip(0), c).double()
            for y, c in zip(labels, classes, strict=True)
        )
    return x, labels


def make(name, classes=(4,)):
    torch.manual_seed(0)
    return create_net(name, classes).double()


def take_step(name, scheme, classes=(4,), mixed=False):
    net, (x, labels) = make(name, classes), batch(classes, mixed)
    return scheme.build(net, RunFacts(seed=1)).step(net, x, labels, criterion), net


def assert_step_is(name, scheme, expected, classes=(4,), mixed=False, stages=None):
    """`expected(outputs, labels)` gives the loss of each of `stages`, ascending, from forward()."""
    losses, net = take_step(name, scheme, classes, mixed)
    reference, (x, labels) = make(name, classes), batch(classes, mixed)
    wanted = expected(reference(x, stages), labels)
    sum(wanted).backward()
    assert list(losses) == list(stages or range(1, net.num_stages + 1))
    torch.testing.assert_close(torch.stack(list(losses.values())), torch.stack(wanted).detach())
    for (parameter, ours), theirs in zip(net.named_parameters(), reference.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), parameter
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12, msg=parameter)


def leaves(*shapes, levels=1):
    generator = torch.Generator().manual_seed(3)
    return {
        stage: tuple(
            torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
            for _ in range(levels)
        )
        for stage, shape in enumerate(shapes, 1)
    }


def lesson_of(outputs, labels):
    return Lesson(labels, criterion, {k: tuple(z.detach() for z in o) for k, o in outputs.items()})


# --- divergences ----------------------------------------------------------------------------------------


def test_divergence_is_the_mean_over_batch_and_positions_of_the_sum_over_classes_and_levels():
    outputs = leaves((2, 3, 4, 5), (2, 3, 4, 5), levels=2)
    ours = divergence(outputs[2], outputs[1], 2.5)
    torch.testing.assert_close(ours, kl(outputs[2], outputs[1], 2.5))
    by_hand = 0.0
    for teacher, student in zip(outputs[2], outputs[1], strict=True):
        for n, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(5)).tolist():
            p = (teacher[n, :, i, j] / 2.5).softmax(0).tolist()
            q = (student[n, :, i, j] / 2.5).softmax(0).tolist()
            by_hand += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 40
    assert ours.item() == pytest.approx(by_hand)
    ours.backward()
    assert all(z.grad is not None for z in outputs[1])
    assert all(z.grad is None for z in outputs[2])


def test_a_teachers_map_is_resized_to_the_students_resolution():
    teacher, student = torch.full((2, 3, 2, 2), 0.5), torch.zeros(2, 3, 4, 4)
    teacher[:, 1] = 2.0  # constant over positions: resizing must not change it
    same_size = torch.full((2, 3, 4, 4), 0.5)
    same_size[:, 1] = 2.0
    torch.testing.assert_close(divergence((teacher,), (student,)), divergence((same_size,), (student,)))


def test_soft_cross_entropy_exceeds_the_divergence_by_the_teachers_entropy():
    teacher, student = leaves((4, 5, 2), (4, 5, 2)).values()
    p = teacher[0].softmax(1)
    entropy = -(p * p.log()).sum(1).mean()
    ours = soft_cross_entropy((p,), student)
    torch.testing.assert_close(ours, divergence(teacher, student) + entropy)
    ours.backward()
    assert student[0].grad is not None
    assert teacher[0].grad is None


def test_soft_cross_entropy_of_certain_targets_is_that_of_labels():
    (student,) = leaves((4, 5)).values()
    y = torch.tensor([0, 4, 2, 2])
    torch.testing.assert_close(
        soft_cross_entropy((F.one_hot(y, 5).double(),), student), F.cross_entropy(student[0], y)
    )


# --- distillation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("classes", [(4,), (4, 2)])
@pytest.mark.parametrize("teacher", ["last", "largest", "next"])
@pytest.mark.parametrize(("squared", "label_weight"), [(True, None), (False, 1.0)])
def test_distillation_mixes_labels_and_the_divergence_from_the_teaching_stage(
    name, classes, teacher, squared, label_weight
):
    def expected(outputs, labels):
        found = []
        for k, output in enumerate(outputs[:-1]):
            t = outputs[k + 1] if teacher == "next" else outputs[-1]
            weight = 0.7 if label_weight is None else label_weight
            factor = 0.3 * (1.5**2 if squared else 1)
            found.append(weight * criterion(output, labels) + factor * kl(t, output, 1.5))
        return [*found, criterion(outputs[-1], labels)]

    targets = Distillation(teacher, 0.3, 1.5, squared, label_weight)
    assert_step_is(name, Scheme(targets=targets), expected, classes)


@pytest.mark.parametrize("name", NETS)
def test_the_sandwich_with_a_largest_teacher_that_counts_wholly_is_in_place_distillation(name):
    def expected(outputs, labels):
        smallest, largest = outputs
        soft = tuple(z.detach().softmax(1) for z in largest)
        entropy = sum(-(p * p.log()).sum(1).mean() for p in soft)
        return [soft_cross_entropy(soft, smallest) - entropy, criterion(largest, labels)]

    scheme = Scheme(sampling=Sandwich(0), targets=Distillation("largest", mixing=1))
    assert_step_is(name, scheme, expected, stages=[1, make(name).num_stages])


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("teacher", ["largest", "last", "next"])
def test_a_step_of_the_largest_stage_alone_is_its_plain_step(name, teacher):
    last = make(name).num_stages
    only = DrawnStages(weights=(0,) * (last - 1) + (1,))
    scheme = Scheme(sampling=only, targets=Distillation(teacher, mixing=1))
    assert_step_is(name, scheme, lambda outputs, labels: [criterion(outputs[0], labels)], stages=[last])


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("targets", [Distillation(mixing=0), TDLambda(1)])
@pytest.mark.parametrize(("classes", "mixed"), [((4,), False), ((4, 2), True)])
def test_what_reduces_to_labels_gives_their_losses_to_the_last_bit(name, targets, classes, mixed):
    ours, _ = take_step(name, Scheme(targets=targets), classes, mixed)
    plain, _ = take_step(name, Scheme(targets=FromLabels()), classes, mixed)
    assert ours == plain


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("targets", [Distillation("next", 0.5, 2.0), Distillation(mixing=1), TDLambda(0.5)])
def test_a_teaching_stage_gets_no_gradient_from_those_it_teaches(targets, levels):
    outputs = leaves((2, 3, 4, 4), (2, 3, 2, 2), (2, 3, 2, 2), levels=levels)
    labels = (torch.ones(2, 4, 4, dtype=torch.long),) * levels
    net = make("isresnext_tiny")
    lesson = lesson_of(outputs, labels)
    built = targets.build(net, RunFacts())
    built.teach(torch.zeros(1), (1,))
    (student,) = built.losses([(1, outputs[1])], lesson)
    student.backward()
    assert all(z.grad is not None and z.grad.abs().sum() > 0 for z in outputs[1])
    assert all(z.grad is None for stage in (2, 3) for z in outputs[stage])


def test_warm_up_raises_the_teachers_share_linearly_and_a_checkpoint_remembers_the_step():
    outputs = leaves((4, 3), (4, 3), (4, 3))
    lesson = lesson_of(outputs, (torch.tensor([0, 1, 2, 0]),))
    labels, soft = criterion(outputs[1], lesson.labels), divergence(outputs[3], outputs[1])

    def next_loss(targets):
        targets.teach(torch.zeros(1), (1,))
        return targets.losses([(1, outputs[1])], lesson)[0]

    config = Distillation(mixing=0.8, warmup_steps=4)
    targets = config.build(make("isresnext_tiny"), RunFacts())
    for share in (0.0, 0.2, 0.4):
        torch.testing.assert_close(next_loss(targets), (1 - share) * labels + share * soft)
    resumed = config.build(make("isresnext_tiny"), RunFacts())
    resumed.load_state_dict(targets.state_dict())
    for share in (0.6, 0.8, 0.8):
        torch.testing.assert_close(next_loss(resumed), (1 - share) * labels + share * soft)


@pytest.mark.parametrize("targets", [Distillation("last"), EMATeacher()])
def test_a_stage_that_others_learn_from_must_run_in_every_step(targets):
    net = make("isresnext_tiny")
    for sampling in (DrawnStages(), DrawnStages(weights=(1, 0, 0)), DrawnStages(2, always=("smallest",))):
        if sampling == DrawnStages(2, always=("smallest",)):
            Scheme(sampling=sampling, targets=targets).build(net)  # both that are left run in every step
            continue
        with pytest.raises(ValueError, match=r"stage 3 must run in every step, .*: sample with sandwich"):
            Scheme(sampling=sampling, targets=targets).build(net)


@pytest.mark.parametrize(
    ("teacher", "stages"), [("largest", [3, 1, 2]), ("last", [3, 1, 2]), ("next", [3, 2, 1])]
)
def test_only_stages_that_learn_from_the_next_one_run_in_falling_order(teacher, stages):
    built = Scheme(sampling=Sandwich(1), targets=Distillation(teacher)).build(make("isresnext_tiny"))
    assert list(built._draw(make("isresnext_tiny"))) == stages


# --- temporal differences -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(("classes", "mixed"), [((4,), False), ((4, 2), False), ((4,), True)])
def test_td_is_cross_entropy_against_the_mixture_of_all_later_stages_and_the_labels(
    name, decay, classes, mixed
):
    def expected(outputs, labels):
        found = []
        for t, output in enumerate(outputs):
            loss = 0
            for d, z in enumerate(output):
                last = len(outputs) - 1
                y = labels[d] if mixed else F.one_hot(labels[d], classes[d]).double()
                q = decay ** (last - t) * y
                for n in range(t + 1, last + 1):
                    q = q + (1 - decay) * decay ** (n - t - 1) * outputs[n][d].detach().softmax(1)
                torch.testing.assert_close(q.sum(1), torch.ones(len(q), dtype=q.dtype))
                loss = loss - (q * z.log_softmax(1)).sum(1).mean()
            found.append(loss)
        return found

    assert_step_is(name, Scheme(targets=TDLambda(decay)), expected, classes, mixed)


@pytest.mark.parametrize("name", NETS)
def test_td_without_decay_learns_from_the_next_stage_that_ran(name):
    def expected(outputs, labels):
        smallest, largest = outputs
        return [
            soft_cross_entropy(tuple(z.detach().softmax(1) for z in largest), smallest),
            criterion(largest, labels),
        ]

    scheme = Scheme(sampling=Sandwich(0), targets=TDLambda(0))
    assert_step_is(name, scheme, expected, stages=[1, make(name).num_stages])


# --- all of them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NETS, "msdnet_tiny", "fcn_exits_tiny"])
@pytest.mark.parametrize("targets", [Distillation(mixing=0.5, temperature=2.0), TDLambda(0.5)])
def test_losses_are_float32_under_autocast(name, targets):
    torch.manual_seed(0)
    net = create_net(name, (4,))
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        (logits,) = net(x, [1])[0]

    def loss(output, labels):
        resized = output[0].float()
        if resized.dim() == 4:
            resized = F.interpolate(resized, size=logits.shape[2:], mode="bilinear")
        return F.cross_entropy(resized, labels[0])

    labels = (torch.zeros(4, *logits.shape[2:], dtype=torch.long),)
    with torch.autocast("cpu", torch.bfloat16):
        losses = Scheme(targets=targets).build(net).step(net, x, labels, loss)
    assert all(one.dtype == torch.float32 and one.isfinite() for one in losses.values())


@pytest.mark.parametrize("targets", [Distillation(mixing=0.3), TDLambda(0.5)])
def test_the_tasks_own_loss_smooths_the_labels(targets):
    smooth, plain = Classification((4,), label_smoothing=0.2), Classification((4,))
    net, (x, labels) = make("isresnext_tiny"), batch()
    with_smoothing = Scheme(targets=targets).build(net).step(net, x, labels, smooth.loss)
    assert with_smoothing != Scheme(targets=targets).build(net).step(net, x, labels, plain.loss)


@pytest.mark.parametrize(
    ("make_targets", "message"),
    [
        (lambda: Distillation("largst"), "take one of last, largest, next, later"),  # type: ignore[arg-type]
        (lambda: Distillation(mixing=1.1), "from 0 to 1"),
        (lambda: Distillation(mixing=float("nan")), "from 0 to 1"),
        (lambda: Distillation(temperature=0), "must be a positive number"),
        (lambda: Distillation(temperature=float("inf")), "must be a positive number"),
        (lambda: Distillation(label_weight=-1), "0 or more"),
        (lambda: Distillation(mixing=0, label_weight=0), "both 0"),
        (lambda: Distillation(warmup_steps=-1), "0 or more"),
        (lambda: Distillation(label_weight=0, warmup_steps=3), "first step would teach nothing"),
        (lambda: TDLambda(-0.1), "from 0 to 1"),
        (lambda: TDLambda(1.1), "from 0 to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(make_targets, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_targets()
    assert "\n" not in str(caught.value)


LEVELS = (6, 3, 2)


@pytest.mark.parametrize("name", NETS)
def test_stages_with_a_level_of_their_own_learn_that_one_alone(name):
    scheme = Scheme(targets=FromLabels((3, 2, 1)))
    levels = {1: 2, 2: 1, 3: 0}

    def expected(outputs, labels):
        return [F.cross_entropy(outputs[stage - 1][level], labels[level]) for stage, level in levels.items()]

    losses, net = take_step(name, scheme, LEVELS)
    reference, (x, labels) = make(name, LEVELS), batch(LEVELS)
    wanted = expected(reference(x), labels)
    sum(wanted).backward()
    torch.testing.assert_close(torch.stack(list(losses.values())), torch.stack(wanted).detach())
    for (key, ours), (_, theirs) in zip(net.named_parameters(), reference.named_parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), key
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("levels", "classes", "chosen"),
    [
        ("coarse_to_fine", (6, 3), (2, 1, 1)),
        ("coarse_to_fine", LEVELS, (3, 2, 1)),
        ((1, 2, 1), (6, 3), (1, 2, 1)),
    ],
)
def test_levels_are_spread_from_coarse_to_fine(levels, classes, chosen):
    targets = FromLabels(levels).build(make("isresnext_tiny", classes), RunFacts())
    assert targets.levels == chosen
    assert not targets.every_level  # some heads get no gradient, which the wrapper for processes cannot have


@pytest.mark.parametrize(
    ("levels", "classes", "said"),
    [
        ("coarse_to_fine", (6,), "taxonomy=FILE"),
        ("fine_to_coarse", (6,), "'all', 'coarse_to_fine' or a level"),
        ((2, 1), (6, 3), "for 2 stages and the net has 3"),
        ((3, 2, 1), (6, 3), "predicts 2 label level"),
        ((0, 1, 1), (6, 3), "1 the finest"),
        ((1, 1, 2), (6, 3), "the last stage must learn the finest level"),
        ((), (6, 3), "for example"),
        ((1.5, 1, 1), (6, 3), "for example"),
        (3, (6, 3), "for example"),
    ],
)
def test_levels_that_cannot_be_learnt_are_refused(levels, classes, said):
    with pytest.raises(ValueError, match=said):
        FromLabels(levels).build(make("isresnext_tiny", classes), RunFacts())
