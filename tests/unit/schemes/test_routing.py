"""Block-dependent losses and gradient equilibrium, against ordinary autograd that runs blocks again."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from anytimenet.nets import create_net
from anytimenet.schemes import (
    BlockDependent,
    ConstantWeights,
    GradientEquilibrium,
    GroupedLosses,
    RunFacts,
    Scheme,
)

CHAINS = ["msdnet_tiny", "resnext_exits_tiny"]


def deep(name: str = "msdnet_tiny", **arguments):
    """A chain in float64 with equal weights every time."""
    torch.manual_seed(0)
    return create_net(name, (4,), **arguments).double()


def five_exits():
    return deep("resnext_exits_tiny", exits_after=(1, 2, 3, 4, 5), blocks=(2, 2, 1))


def batch() -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x, (torch.randint(0, 4, (6,), generator=generator),)


def criterion(output, labels):
    return F.cross_entropy(output[0], labels[0])


def step(net, scheme: Scheme):
    x, labels = batch()
    return scheme.build(net, RunFacts()).step(net, x, labels, criterion)


def rerun(net, first_blocks) -> list[torch.Tensor]:
    """The losses of all exits; each runs the blocks again, cut before the first that it trains."""
    x, labels = batch()
    losses = []
    for exit_, first in enumerate(first_blocks, 1):
        state: tuple[torch.Tensor, ...] = (x,)
        for number in range(1, exit_ + 1):
            if number == first:
                state = tuple(tensor.detach() for tensor in state)
            state = net.blocks[number - 1](state)
        losses.append(criterion(net.heads[exit_ - 1](state), labels))
    return losses


def assert_equal_gradients(ours, theirs) -> None:
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        given = torch.zeros_like(mine) if mine.grad is None else mine.grad
        wanted = torch.zeros_like(other) if other.grad is None else other.grad
        torch.testing.assert_close(given, wanted, rtol=1e-10, atol=1e-13, msg=name)


RULES = [
    BlockDependent(window=1),
    BlockDependent(window=2),
    BlockDependent(window=3),  # all of the three exits: ordinary training
    BlockDependent(window=1, include_final=True),
    BlockDependent(window=2, include_final=True),
    GroupedLosses(size=1),
    GroupedLosses(size=2),
    GroupedLosses(size=2, include_final=True),
    GroupedLosses(size=3),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", CHAINS)
def test_routed_gradients_equal_those_of_running_cut_blocks_again_for_every_exit(name, rule):
    ours, reference = deep(name), deep(name)
    losses = step(ours, Scheme(gradients=rule))
    expected = rerun(reference, rule.first_blocks(reference.num_stages))
    torch.stack(expected).sum().backward()
    torch.testing.assert_close(torch.stack(list(losses.values())), torch.stack(expected).detach())
    assert_equal_gradients(ours, reference)


@pytest.mark.parametrize(
    "rule",
    [BlockDependent(window=2), BlockDependent(window=3, include_final=True), GroupedLosses(groups=(1, 3, 1))],
    ids=str,
)
def test_the_same_on_a_longer_chain(rule):
    ours, reference = five_exits(), five_exits()
    step(ours, Scheme(gradients=rule))
    torch.stack(rerun(reference, rule.first_blocks(5))).sum().backward()
    assert_equal_gradients(ours, reference)


@pytest.mark.parametrize("make", [deep, five_exits])
def test_a_window_over_all_stages_is_ordinary_training(make):
    ours, plain = make(), make()
    step(ours, Scheme(gradients=BlockDependent(window=ours.num_stages)))
    step(plain, Scheme())
    assert_equal_gradients(ours, plain)


@pytest.mark.parametrize("rule", RULES[:5], ids=str)
def test_a_loss_reaches_a_block_exactly_from_its_first_one_on(rule):
    net = five_exits()
    first = rule.first_blocks(5)
    x, labels = batch()
    for exit_ in range(1, 6):
        net.zero_grad(set_to_none=True)
        gradients = Scheme(gradients=rule).build(net).gradients
        gradients(net, x, (exit_,), lambda group: [criterion(output, labels) for _, output in group])
        for block in range(1, 6):
            reached = any(
                p.grad is not None and p.grad.abs().max() > 0 for p in net.blocks[block - 1].parameters()
            )
            assert reached == (first[exit_ - 1] <= block <= exit_)
        for head in range(1, 6):
            touched = any(p.grad is not None for p in net.heads[head - 1].parameters())
            assert touched == (head == exit_)


@pytest.mark.parametrize("rule", [BlockDependent(window=2), GradientEquilibrium()], ids=str)
@pytest.mark.parametrize("name", CHAINS)
def test_no_block_runs_twice_so_batch_statistics_move_once(name, rule):
    ours, plain = deep(name), deep(name)
    step(ours, Scheme(gradients=rule))
    step(plain, Scheme())
    for (key, mine), other in zip(ours.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-15, msg=key)


def test_weights_count_before_gradients_are_routed():
    ours, whole = five_exits(), five_exits()
    step(ours, Scheme(weighting=ConstantWeights(0.5), gradients=BlockDependent(window=2)))
    step(whole, Scheme(gradients=BlockDependent(window=2)))
    for mine, other in zip(ours.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad / 2, rtol=1e-10, atol=1e-14)


def test_frozen_blocks_are_passed_through_and_keep_no_gradient():
    ours, reference = five_exits(), five_exits()
    rule = BlockDependent(window=3)
    for net in (ours, reference):
        net.blocks[0].requires_grad_(False)
    step(ours, Scheme(gradients=rule))
    torch.stack(rerun(reference, rule.first_blocks(5))).sum().backward()
    assert all(p.grad is None for p in ours.blocks[0].parameters())
    assert_equal_gradients(ours, reference)


def test_gradients_add_to_what_is_there():
    net, twice = five_exits(), five_exits()
    step(net, Scheme(gradients=BlockDependent(window=2)))
    once = [p.grad.clone() for p in net.parameters()]
    step(twice, Scheme(gradients=BlockDependent(window=2)))
    step(twice, Scheme(gradients=BlockDependent(window=2)))
    for p, single in zip(twice.parameters(), once, strict=True):
        torch.testing.assert_close(p.grad, 2 * single, rtol=1e-10, atol=1e-14)


def test_the_published_groups_and_windows_are_the_defaults():
    assert GroupedLosses().first_blocks(7) == (1, 1, 1, 4, 4, 4, 4)
    assert GroupedLosses().first_blocks(5) == (1, 1, 1, 4, 4)
    assert BlockDependent().first_blocks(7) == (1, 1, 1, 2, 3, 4, 5)
    assert BlockDependent(window=2).first_blocks(5) == (1, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (BlockDependent(window=4), "window of 4 exits is larger than the net's 3 stages"),
        (GroupedLosses(size=4), "larger than the net's 3 stages"),
        (GroupedLosses(groups=(2, 2)), "are for 4 stages and the net has 3"),
    ],
)
def test_windows_and_groups_that_do_not_fit_the_net_are_refused(rule, said):
    with pytest.raises(ValueError, match=said):
        Scheme(gradients=rule).build(deep())


@pytest.mark.parametrize("make", [lambda: BlockDependent(window=0), lambda: GroupedLosses(groups=(2, 0))])
def test_windows_and_groups_that_are_no_counts_are_refused(make):
    with pytest.raises(ValueError, match=r"whole numbers?"):
        make()


@pytest.mark.parametrize("rule", [BlockDependent(), GroupedLosses(), GradientEquilibrium()], ids=str)
@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny"])
def test_nets_without_blocks_in_a_row_are_refused_with_the_cure(name, rule):
    with pytest.raises(ValueError, match=r"between the blocks of a chain, and .* is none: take a net"):
        Scheme(gradients=rule).build(create_net(name))


# --- gradient equilibrium ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [deep, five_exits])
def test_equilibrium_mixes_own_and_later_gradients_in_the_published_shares(make):
    ours, reference = make(), make()
    step(ours, Scheme(gradients=GradientEquilibrium()))
    n = reference.num_stages
    x, labels = batch()
    state, befores, features, losses = (x,), [], [], []
    for number in range(1, n + 1):
        befores.append(state)
        state = reference.blocks[number - 1](state)
        cut = state[-1].detach().requires_grad_()
        features.append((state, cut))
        losses.append(criterion(reference.heads[number - 1]((cut,)), labels))
        state = tuple(t.detach().requires_grad_() for t in state)
        features[-1] += (state,)
    torch.stack(losses).sum().backward()
    for number in reversed(range(1, n + 1)):
        after, own, onward = features[number - 1]
        later = n - number
        shares = [t.grad if t.grad is not None else torch.zeros_like(t) for t in onward]
        shares[-1] = own.grad / (later + 1) + shares[-1] * later / (later + 1)
        pairs = [(t, g) for t, g in zip(after, shares, strict=True) if t.requires_grad]
        torch.autograd.backward(*map(list, zip(*pairs, strict=True)))
    assert_equal_gradients(ours, reference)


def test_equilibrium_leaves_classifiers_their_whole_gradient():
    ours, plain = five_exits(), five_exits()
    step(ours, Scheme(gradients=GradientEquilibrium()))
    step(plain, Scheme())
    for mine, other in zip(ours.heads.parameters(), plain.heads.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-13)


def test_the_first_classifiers_share_of_the_gradient_is_one_over_the_exits_from_there():
    x, labels = batch()
    for number in range(1, 6):
        net = five_exits()
        own = list(net.blocks[number - 1].parameters())
        gradients = Scheme(gradients=GradientEquilibrium()).build(net).gradients

        def only(group, number=number):
            return [criterion(o, labels) * (k == number) for k, o in group]

        gradients(net, x, (1, 2, 3, 4, 5), only)
        plain = five_exits()
        only([(k, o) for k, o in enumerate(plain(x), 1)])[number - 1].backward()
        for mine, other in zip(own, plain.blocks[number - 1].parameters(), strict=True):
            torch.testing.assert_close(mine.grad * (6 - number), other.grad, rtol=1e-9, atol=1e-13)


def test_with_label_levels_every_level_of_a_loss_is_routed_alike():
    x, (fine,) = batch()
    labels, rule = (fine, fine // 2), BlockDependent(window=2, include_final=True)
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(create_net("msdnet_tiny", (4, 2)).double())

    def both(output, y):
        return sum(F.cross_entropy(z, one) for z, one in zip(output, y, strict=True))

    Scheme(gradients=rule).build(nets[0]).step(nets[0], x, labels, both)
    losses = []
    for exit_, first in enumerate(rule.first_blocks(3), 1):
        state: tuple[torch.Tensor, ...] = (x,)
        for number in range(1, exit_ + 1):
            state = tuple(t.detach() for t in state) if number == first else state
            state = nets[1].blocks[number - 1](state)
        losses.append(both(nets[1].heads[exit_ - 1](state), labels))
    torch.stack(losses).sum().backward()
    assert_equal_gradients(*nets)


# --- steps that run some of the exits ---------------------------------------------------------------


@pytest.mark.parametrize("stages", [(1, 3, 5), (5, 1), (2, 4)])
def test_windows_go_by_the_number_of_an_exit_where_only_some_run(stages):
    ours, reference = five_exits(), five_exits()
    rule = BlockDependent(window=2)
    x, labels = batch()

    def loss(group):
        assert [stage for stage, _ in group] == list(stages)
        return [criterion(output, labels) for _, output in group]

    Scheme(gradients=rule).build(ours).gradients(ours, x, stages, loss)
    every = rerun(reference, rule.first_blocks(5))
    torch.stack([every[stage - 1] for stage in stages]).sum().backward()
    assert_equal_gradients(ours, reference)


def test_equilibrium_counts_the_exits_that_run():
    x, labels = batch()
    some, kept = five_exits(), five_exits().keep((2, 4))
    for net, stages in ((some, (2, 4)), (kept, (1, 2))):
        rule = Scheme(gradients=GradientEquilibrium()).build(net).gradients
        rule(net, x, stages, lambda group: [criterion(output, labels) for _, output in group])
    there = dict(some.named_modules())
    pairs = [
        ("blocks.1", "blocks.0"),
        ("blocks.3", "blocks.1"),
        ("heads.1", "heads.0"),
        ("heads.3", "heads.1"),
    ]
    for name, in_kept in pairs:
        ours = [p.grad for p in there[name].parameters()]
        theirs = [p.grad for p in kept.get_submodule(in_kept).parameters()][-len(ours) :]
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-13)
