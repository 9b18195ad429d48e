"""Teachers beside the net: its moving average, and a net that is trained already."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from anytimenet.nets import create_net
from anytimenet.schemes import RunFacts, Scheme
from anytimenet.schemes.sampling import Sandwich
from anytimenet.schemes.targets.soft import divergence
from anytimenet.schemes.targets.teachers import EMATeacher, GivenTeacher

NETS = ["isresnext_tiny", "iresnext_tiny"]


def criterion(output, labels):
    return sum(F.cross_entropy(z, y) for z, y in zip(output, labels, strict=True))


def batch(classes=(4,)):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x, tuple(torch.randint(0, count, (6,), generator=generator) for count in classes)


def make(name, classes=(4,), seed=0, **arguments):
    torch.manual_seed(seed)
    return create_net(name, classes, **arguments).double()


def descend(net):
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
                parameter.grad = None


def evaluated(net, x):
    with torch.no_grad():
        return copy.deepcopy(net).eval()(x)


def average_step(average, net, momentum):
    """The defining equation, tensor by tensor; counters are copied."""
    now = net.state_dict()
    for name, tensor in average.items():
        average[name] = (
            momentum * tensor + (1 - momentum) * now[name]
            if tensor.is_floating_point()
            else now[name].clone()
        )


# --- the moving average ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("classes", [(4,), (4, 2)])
def test_the_teacher_is_the_moving_average_of_weights_and_running_statistics(name, classes):
    net, (x, labels) = make(name, classes), batch(classes)
    built = Scheme(targets=EMATeacher(0.75)).build(net)
    net.load_state_dict(
        make(name, classes, seed=5).state_dict()
    )  # weights may come after the scheme is built
    average = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for step in range(4):
        if step:
            average_step(average, net, 0.75)
        built.step(net, x, labels, criterion)
        teacher = built.targets.teacher.state_dict()
        for key, tensor in average.items():
            torch.testing.assert_close(teacher[key], tensor, msg=key)
        descend(net)
    assert not any(module.training for module in built.targets.teacher.modules())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("classes", [(4,), (4, 2)])
@pytest.mark.parametrize("source", ["same", "last"])
def test_stages_learn_from_the_average_in_eval_mode(name, classes, source):
    net, (x, labels) = make(name, classes), batch(classes)
    targets = EMATeacher(0.9, 0.4, 2.0, squared_temperature=True, source=source)
    built = Scheme(targets=targets).build(net)
    built.step(net, x, labels, criterion)
    descend(net)
    reference = copy.deepcopy(net)
    losses = built.step(net, x, labels, criterion)

    taught = evaluated(built.targets.teacher, x)
    wanted = []
    outputs = reference(x)
    for k, output in enumerate(outputs):
        teacher = taught[k] if source == "same" else taught[-1]
        mixed = 0.6 * criterion(output, labels) + 0.4 * 4 * divergence(teacher, output, 2.0)
        alone = source == "last" and k == len(outputs) - 1
        wanted.append(criterion(output, labels) if alone else mixed)
    torch.testing.assert_close(torch.stack(list(losses.values())), torch.stack(wanted).detach())
    sum(wanted).backward()
    for ours, theirs in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_the_teacher_is_in_the_checkpoint_and_the_net_in_training_is_not():
    net = make("isresnext_tiny")
    targets = EMATeacher().build(net, RunFacts())
    keys = {key for key in targets.state_dict() if key != "_extra_state"}
    assert keys == {f"teacher.{key}" for key in net.state_dict()}
    own = {id(tensor) for tensor in [*net.parameters(), *net.buffers()]}
    assert not own & {id(tensor) for tensor in [*targets.parameters(), *targets.buffers()]}
    assert not any(parameter.requires_grad for parameter in targets.parameters())


@pytest.mark.parametrize("name", NETS)
def test_a_resumed_average_goes_on_to_the_last_bit(name):
    scheme = Scheme(sampling=Sandwich(1), targets=EMATeacher(0.9, 0.5))
    net, (x, labels) = make(name), batch()
    built = scheme.build(net)
    for _ in range(3):
        built.step(net, x, labels, criterion)
        descend(net)
    again = make(name, seed=7)
    resumed = scheme.build(again)
    again.load_state_dict(net.state_dict())
    resumed.load_state_dict(built.state_dict())
    for _ in range(2):
        assert built.step(net, x, labels, criterion) == resumed.step(again, x, labels, criterion)
        descend(net)
        descend(again)


def test_a_scheme_put_in_training_mode_leaves_its_teacher_in_eval_mode():
    targets = EMATeacher().build(make("isresnext_tiny"), RunFacts())
    assert not targets.eval().train().teacher.training


# --- a given net ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("classes", [(4,), (4, 2)])
@pytest.mark.parametrize(("squared", "label_weight"), [(True, None), (False, 1.0)])
def test_all_stages_learn_from_the_last_stage_of_a_given_net(name, classes, squared, label_weight):
    teacher = make("resnet_tiny", classes, seed=3)
    teacher(
        torch.randn(16, 3, 8, 8, dtype=torch.float64)
    )  # running statistics that differ from the fresh ones
    before = copy.deepcopy(teacher.state_dict())
    net, reference, (x, labels) = make(name, classes), make(name, classes), batch(classes)
    scheme = Scheme(targets=GivenTeacher(0.3, 2.0, squared, label_weight))
    losses = scheme.build(net, RunFacts(teacher=teacher)).step(net, x, labels, criterion)

    taught = evaluated(teacher, x)[-1]
    weight, factor = (0.7 if label_weight is None else label_weight), 0.3 * (4 if squared else 1)
    wanted = [
        weight * criterion(output, labels) + factor * divergence(taught, output, 2.0)
        for output in reference(x)
    ]
    torch.testing.assert_close(torch.stack(list(losses.values())), torch.stack(wanted).detach())
    sum(wanted).backward()
    for ours, theirs in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    assert teacher.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in teacher.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in teacher.parameters())


def test_a_given_net_is_no_part_of_the_checkpoint():
    targets = GivenTeacher().build(make("isresnext_tiny"), RunFacts(teacher=make("resnet_tiny")))
    assert not targets.state_dict()
    assert not list(targets.parameters())


def test_a_given_net_follows_the_batch_to_its_device():
    targets = GivenTeacher().build(make("isresnext_tiny"), RunFacts(teacher=make("resnet_tiny")))
    targets.to("meta")  # does not reach what is hidden
    (output,) = targets.teach(torch.zeros(2, 3, 8, 8, dtype=torch.float64, device="meta"), (1,)).values()
    assert output[0].device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("targets", [GivenTeacher(), EMATeacher()])
def test_teachers_follow_the_batch_to_its_device(targets):
    net, (x, labels) = make("isresnext_tiny").cuda(), batch()
    built = Scheme(targets=targets).build(net, RunFacts(teacher=make("resnet_tiny"))).cuda()
    losses = built.step(net, x.cuda(), tuple(y.cuda() for y in labels), criterion)
    assert all(loss.isfinite() and loss.is_cuda for loss in losses.values())


def test_a_teacher_is_needed_and_must_fit_the_net():
    net = make("isresnext_tiny")
    for teacher, message in [
        (None, "give teacher=BUNDLE"),
        (make("resnet_tiny", (5,)), r"classes \(5,\) per level and the net \(4,\)"),
        (make("resnet_tiny", (4, 2)), r"classes \(4, 2\) per level and the net \(4,\)"),
        (make("resnet_tiny", in_channels=1), "reads 1-channel images and the net reads 3-channel images"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            GivenTeacher().build(net, RunFacts(teacher=teacher))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("targets", [GivenTeacher(0.5, 2.0), EMATeacher(0.9, 0.5, source="same")])
def test_losses_are_float32_under_autocast(targets):
    net, (x, labels) = make("iresnext_tiny").float(), batch()
    teacher = make("resnet_tiny").float() if isinstance(targets, GivenTeacher) else None
    built = Scheme(targets=targets).build(net, RunFacts(teacher=teacher))
    with torch.autocast("cpu", torch.bfloat16):
        losses = built.step(
            net, x.float(), labels, lambda output, y: F.cross_entropy(output[0].float(), y[0])
        )
    assert all(one.dtype == torch.float32 and one.isfinite() for one in losses.values())


@pytest.mark.parametrize(
    ("make_targets", "message"),
    [
        (lambda: EMATeacher(1.0), "from 0 to below 1"),
        (lambda: EMATeacher(float("nan")), "from 0 to below 1"),
        (lambda: EMATeacher(mixing=-1), "from 0 to 1"),
        (lambda: EMATeacher(temperature=-1), "positive number"),
        (lambda: EMATeacher(source="sme"), "take one of same, last"),  # type: ignore[arg-type]
        (lambda: EMATeacher(mixing=1, source="same"), "learns from its own average"),
        (lambda: GivenTeacher(mixing=2), "from 0 to 1"),
        (lambda: GivenTeacher(mixing=0, label_weight=0), "both 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(make_targets, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_targets()
    assert "\n" not in str(caught.value)


def test_a_net_whose_statistics_training_does_not_track_has_no_running_mean_to_learn_from():
    with pytest.raises(ValueError, match="learn from the largest stage"):
        EMATeacher().build(create_net("universally_slimmable_tiny"), RunFacts())


def test_a_teacher_without_statistics_is_refused():
    teacher = create_net("universally_slimmable_tiny")
    with pytest.raises(ValueError, match=r"an\.reestimate"):
        GivenTeacher().build(create_net("isresnext_tiny"), RunFacts(teacher=teacher))
