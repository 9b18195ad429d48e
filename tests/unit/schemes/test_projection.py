"""Orthogonalised gradients and projection on conflict, against closed forms and brute force in NumPy."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from anytimenet.nets import create_net
from anytimenet.nets.contract import AnytimeNet, claim
from anytimenet.schemes import Scheme
from anytimenet.schemes.gradients.conflict import ConflictProjection
from anytimenet.schemes.gradients.orthogonal import OrthogonalGradients
from anytimenet.schemes.gradients.projection import block_of
from anytimenet.schemes.gradients.stagewise import parameter_users
from anytimenet.schemes.hooks import RunFacts
from anytimenet.tasks import Classification

NETS = ["isresnext_tiny", "msdnet_tiny", "iresnext_tiny"]
SCOPES: list[Literal["tensor", "block", "net"]] = ["tensor", "block", "net"]
RULES = [
    *(OrthogonalGradients(scope, first) for scope in SCOPES for first in ("early", "late")),
    *(ConflictProjection(scope, order) for scope in SCOPES for order in ("early", "late", "random")),
]


class Linear(AnytimeNet):
    """Stage k's output is row k of x times all weights: its gradient is that row.

    Two blocks of two weights each, `(2, 2)` and `(3,)`, and a weight for each stage alone.
    """

    def __init__(self, num_stages: int) -> None:
        super().__init__()
        self.num_stages = num_stages
        self.blocks = nn.ModuleList(
            nn.ParameterDict({"a": torch.randn(2, 2).double(), "b": torch.randn(3).double()})
            for _ in range(2)
        )
        self.heads = nn.ParameterList(torch.ones(1).double() for _ in range(num_stages))

    def forward(self, x, stages=None):
        weights = torch.cat([p.flatten() for p in self.blocks.parameters()])
        return [(x[k - 1] @ weights + self.heads[k - 1].sum(),) for k in self.check_stages(stages)]

    def parts(self):
        every = range(1, self.num_stages + 1)
        heads = [claim(self, f"heads.{k - 1}", (k,)) for k in every]
        return sum(heads, claim(self, "blocks.", every))


LENGTH = 14
GROUPS = {
    "tensor": [slice(0, 4), slice(4, 7), slice(7, 11), slice(11, 14)],
    "block": [slice(0, 7), slice(7, 14)],
    "net": [slice(0, 14)],
}


def update(config, rows: np.ndarray, stages: Sequence[int] | None = None, seed: int = 0) -> np.ndarray:
    """What a rule adds to `.grad` of the weights that stages share, where their gradients are `rows`."""
    net = Linear(len(rows))
    rule = config.build(net, RunFacts(seed=seed))
    stages = stages or range(1, len(rows) + 1)
    rule(net, torch.tensor(rows), list(stages), lambda group: [output[0] for _, output in group])
    assert all(net.heads[k - 1].grad.item() == 1 for k in stages)
    return torch.cat([p.grad.flatten() for p in net.blocks.parameters() if p.grad is not None]).numpy()


def random_rows(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, LENGTH)) + 0.5 * rng.normal(size=LENGTH)


def gram_schmidt(rows: np.ndarray) -> np.ndarray:
    """Vectors after modified Gram-Schmidt; one that lies in the span of those before is zero."""
    found: list[np.ndarray] = []
    for row in rows:
        v = row.copy()
        for _ in range(2):
            for other in found:
                if other.any():
                    v = v - (v @ other) / (other @ other) * other
        found.append(v if np.linalg.norm(v) > 1e-6 * np.linalg.norm(row) else np.zeros_like(v))
    return np.stack(found)


def without_conflict(rows: np.ndarray, orders: Sequence[Sequence[int]]) -> np.ndarray:
    """PCGrad, algorithm 1, with given orders."""
    found = []
    for row, others in zip(rows, orders, strict=True):
        v = row.copy()
        for j in others:
            if v @ rows[j] < 0:
                v = v - (v @ rows[j]) / (rows[j] @ rows[j]) * rows[j]
        found.append(v)
    return np.stack(found)


# --- orthogonalised gradients -----------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("keep_norm", [False, True])
@pytest.mark.parametrize("first", ["early", "late"])
def test_projected_gradients_are_orthogonal_in_their_scope(scope, keep_norm, first):
    rows = random_rows(3)
    order = (1, 2, 3) if first == "early" else (3, 2, 1)
    config = OrthogonalGradients(scope, first, keep_norm)
    sums = [rows[order[0] - 1], *(update(config, rows, order[:count]) for count in (2, 3))]
    vectors = np.diff(np.stack(sums), axis=0, prepend=0)
    for group in GROUPS[scope]:
        lengths = np.linalg.norm(vectors[:, group], axis=1)
        cosines = vectors[:, group] @ vectors[:, group].T / np.outer(lengths, lengths)
        assert np.abs(cosines - np.eye(3)).max() < 1e-9
        norms = np.linalg.norm(rows[[k - 1 for k in order]][:, group], axis=1)
        assert np.allclose(lengths, norms, rtol=1e-12) == keep_norm
    assert np.array_equal(vectors[0], rows[order[0] - 1])


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("count", [2, 5, 8])
def test_orthogonal_gradients_are_gram_schmidt_even_with_more_stages_than_weights(scope, count):
    rows = random_rows(count, seed=count)
    expected = np.concatenate([gram_schmidt(rows[:, g]).sum(axis=0) for g in GROUPS[scope]])
    np.testing.assert_allclose(update(OrthogonalGradients(scope), rows), expected, rtol=0, atol=1e-9)
    late = np.concatenate([gram_schmidt(rows[::-1, g]).sum(axis=0) for g in GROUPS[scope]])
    np.testing.assert_allclose(update(OrthogonalGradients(scope, "late"), rows), late, rtol=0, atol=1e-9)


def test_two_stages_give_the_formula():
    g1, g2 = random_rows(2)
    expected = g1 + g2 - (g2 @ g1) / (g1 @ g1) * g1
    np.testing.assert_allclose(update(OrthogonalGradients("net"), np.stack([g1, g2])), expected, rtol=1e-12)


@pytest.mark.parametrize("keep_norm", [False, True])
def test_a_gradient_in_the_span_of_earlier_ones_gives_nothing_and_takes_nothing_away(keep_norm):
    g1, g3 = random_rows(2)
    rows = np.stack([g1, g1 / 3, g3])
    config = OrthogonalGradients("net", keep_norm=keep_norm)
    np.testing.assert_allclose(update(config, rows), update(config, np.stack([g1, g3])), rtol=1e-9)


@pytest.mark.parametrize(
    "config", [OrthogonalGradients(s, keep_norm=bool(k)) for s in SCOPES for k in (0, 1)]
)
def test_gradients_that_are_orthogonal_already_are_summed(config):
    rows = np.zeros((3, LENGTH))
    rows[0, [0, 4, 7, 11]], rows[1, [1, 5, 8, 12]], rows[2, [2, 6, 9, 13]] = 3.0, -2.0, 0.5
    np.testing.assert_allclose(update(config, rows), rows.sum(axis=0), rtol=1e-12)


# --- projection on conflict -------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("order", ["early", "late", "random"])
def test_gradients_that_agree_are_summed(scope, order):
    rows = np.abs(random_rows(4))
    found = update(ConflictProjection(scope, order), rows)
    np.testing.assert_allclose(found, rows.sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("scope", SCOPES)
def test_of_opposed_gradients_the_one_with_priority_stays_and_without_priority_none(scope):
    g = random_rows(1)[0]
    rows = np.stack([g, -2 * g])
    np.testing.assert_allclose(update(ConflictProjection(scope, "early"), rows), g, atol=1e-12)
    np.testing.assert_allclose(update(ConflictProjection(scope, "late"), rows), -2 * g, atol=1e-12)
    np.testing.assert_allclose(update(ConflictProjection(scope, "random"), rows), 0 * g, atol=1e-12)


@pytest.mark.parametrize("scope", SCOPES)
def test_priority_orders_project_on_those_with_priority_in_their_order(scope):
    rows = random_rows(5, seed=3)
    for order, seen in (("early", rows), ("late", rows[::-1])):
        orders = [range(i) for i in range(5)]
        expected = np.concatenate([without_conflict(seen[:, g], orders).sum(axis=0) for g in GROUPS[scope]])
        np.testing.assert_allclose(update(ConflictProjection(scope, order), rows), expected, atol=1e-12)
        assert not np.allclose(expected, rows.sum(axis=0))


@pytest.mark.parametrize("scope", SCOPES)
def test_the_random_order_is_pcgrad_with_some_order_and_every_order_comes(scope):
    g1, g2, g3 = random_rows(3, seed=11)
    rows = np.stack([g1, g2 - 3 * g1, g3 - 2 * g1])  # conflicts in which the order counts
    possible = []
    for code in range(8):
        orders = [[j for j in range(3) if j != i][:: -1 if code >> i & 1 else 1] for i in range(3)]
        possible.append(
            np.concatenate([without_conflict(rows[:, g], orders).sum(axis=0) for g in GROUPS[scope]])
        )
    seen = set()
    for seed in range(60):
        found = update(ConflictProjection(scope), rows, seed=seed)
        fitting = [code for code, p in enumerate(possible) if np.allclose(found, p, atol=1e-10)]
        assert fitting
        seen.update(fitting[:1])
    distinct = np.unique(np.round(np.stack(possible), 8), axis=0)
    assert len(seen) == len(distinct) > 1


def test_the_random_order_goes_on_after_a_checkpoint():
    rows = np.stack([*random_rows(4, seed=5), -random_rows(1, seed=5)[0]])
    net = Linear(5)

    def steps(rule: nn.Module, count: int) -> list[torch.Tensor]:
        found = []
        for _ in range(count):
            net.zero_grad()
            rule(net, torch.tensor(rows), [1, 2, 3, 4, 5], lambda group: [out[0] for _, out in group])
            found.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
        return found

    whole, before, after = (ConflictProjection().build(net, RunFacts(seed=4)) for _ in range(3))
    expected = steps(whole, 6)
    steps(before, 3)
    after.load_state_dict(before.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(steps(after, 3), expected[3:], strict=True))
    assert not all(torch.equal(expected[0], other) for other in expected)


# --- all rules, on real nets ------------------------------------------------------------------------------


def batch(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 8, 8, generator=generator, dtype=dtype)
    return x, (torch.randint(0, 4, (6,), generator=generator),)


def criterion(output, labels):
    return nn.functional.cross_entropy(output[0], labels[0])


def build(name: str) -> AnytimeNet:
    torch.manual_seed(0)
    return create_net(name, (4,)).double()


def step(net: AnytimeNet, config) -> dict[int, torch.Tensor]:
    return Scheme(gradients=config).build(net).step(net, *batch(), criterion)


def own_gradients(net: AnytimeNet, stages: Sequence[int]) -> dict[str, np.ndarray]:
    """Each stage's gradient from a forward and a backward of its own: one row for each of `stages`."""
    rows = []
    for stage in stages:
        one = copy.deepcopy(net)
        x, labels = batch()
        criterion(one(x, (stage,))[0], labels).backward()
        grads = {
            name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in one.named_parameters()
        }
        rows.append({name: g.flatten().numpy() for name, g in grads.items()})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def groups_of(names: Sequence[str], scope: str) -> list[list[str]]:
    def key(name: str) -> str:
        words = name.split(".")
        if scope == "block":
            return ".".join(words[:2]) if words[0] == "blocks" else words[0]
        return name if scope == "tensor" else ""

    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return list(groups.values())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("config", [rule for rule in RULES if getattr(rule, "order", "") != "random"])
def test_a_step_is_what_brute_force_makes_of_the_gradients_of_k_separate_backwards(name, config):
    net = build(name)
    late = "late" in (getattr(config, "first", ""), getattr(config, "order", ""))
    rows = own_gradients(net, (3, 2, 1) if late else (1, 2, 3))
    method = gram_schmidt
    if isinstance(config, ConflictProjection):
        method = lambda found: without_conflict(found, [range(i) for i in range(3)])  # noqa: E731
    touched = {n: [r.any() for r in found] for n, found in rows.items()}
    shared = [n for n in rows if sum(touched[n]) > 1]
    expected = {n: rows[n].sum(axis=0) for n in rows}
    for group in groups_of(shared, config.scope):
        combined = method(np.concatenate([rows[n] for n in group], axis=1)).sum(axis=0)
        borders = np.cumsum([rows[n].shape[1] for n in group])[:-1]
        expected.update(zip(group, np.split(combined, borders), strict=True))
    step(net, config)
    assert any(not np.allclose(expected[n], rows[n].sum(axis=0), atol=1e-6) for n in shared)
    for n, p in net.named_parameters():
        np.testing.assert_allclose(p.grad.flatten().numpy(), expected[n], rtol=0, atol=1e-9, err_msg=n)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("config", RULES[::3])
def test_with_one_stage_every_rule_is_plain_sgd(name, config):
    net = build(name).keep((2,))
    plain = copy.deepcopy(net)
    assert step(net, config) == Scheme().build(plain).step(plain, *batch(), criterion)
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("config", [OrthogonalGradients(), ConflictProjection(order="early")])
def test_of_the_stages_that_run_in_a_step_their_number_gives_the_order(config):
    x, labels = batch()

    def run(stages: Sequence[int]) -> AnytimeNet:
        net = build("msdnet_tiny")
        rule = config.build(net, RunFacts())
        rule(net, x, stages, lambda group: [criterion(output, labels) for _, output in group])
        return net

    one, other = run((3, 1)), run((1, 3))
    users = parameter_users(one)
    for (name, ours), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        if users[name] & {1, 3}:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
        else:
            assert ours.grad is None
            assert theirs.grad is None


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("config", [OrthogonalGradients(keep_norm=True), ConflictProjection("tensor")])
def test_a_stage_with_weight_zero_is_no_division_by_zero_and_as_if_it_had_not_run(name, config):
    net, without = build(name), build(name)
    x, labels = batch()

    def loss(group):
        return [criterion(output, labels) * (0.0 if stage == 2 else 1.0) for stage, output in group]

    config.build(net, RunFacts())(net, x, (1, 2, 3), loss)
    config.build(without, RunFacts())(without, x, (1, 3), loss)
    for ours, theirs in zip(net.parameters(), without.parameters(), strict=True):
        expected = torch.zeros_like(ours) if theirs.grad is None else theirs.grad
        torch.testing.assert_close(ours.grad, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("config", RULES)
def test_gradients_of_zeros_give_zeros(config):
    assert not update(config, np.zeros((3, LENGTH))).any()


def test_weight_decay_comes_after_the_projection():
    net = build("isresnext_tiny")
    rate, decay = 0.1, 0.3
    optimiser = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    before = [p.detach().clone() for p in net.parameters()]
    step(net, OrthogonalGradients())
    projected = [p.grad.clone() for p in net.parameters()]
    undecayed = build("isresnext_tiny")
    step(undecayed, OrthogonalGradients())
    optimiser.step()
    for p, old, g, plain in zip(net.parameters(), before, projected, undecayed.parameters(), strict=True):
        assert torch.equal(g, plain.grad)
        torch.testing.assert_close(p.detach(), old - rate * (g + decay * old), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny", "msdnet_tiny"])
def test_running_statistics_move_once_as_in_a_plain_step(name):
    net, plain = build(name), build(name)
    step(net, OrthogonalGradients())
    Scheme().build(plain).step(plain, *batch(), criterion)
    for (buffer, ours), theirs in zip(net.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12, msg=buffer)


def test_gradients_have_the_memory_layout_that_a_fused_optimiser_needs():
    nets = [build("isresnext_tiny"), build("isresnext_tiny").to(memory_format=torch.channels_last)]
    for net, fused in zip(nets, (False, True), strict=True):
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1, fused=fused)
        step(net, OrthogonalGradients())
        optimiser.step()
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        assert one.grad.stride() == one.stride()
        assert other.grad.stride() == other.stride()
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_gradients_are_added_to_those_that_are_there():
    net, once = build("msdnet_tiny"), build("msdnet_tiny")
    step(once, OrthogonalGradients())
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    step(net, OrthogonalGradients())
    for ours, theirs in zip(net.parameters(), once.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad + 1, rtol=1e-9, atol=1e-12)


def test_frozen_parameters_stay_without_a_gradient():
    net = build("msdnet_tiny")
    net.blocks.requires_grad_(False)
    step(net, OrthogonalGradients())
    assert all((p.grad is None) == name.startswith("blocks") for name, p in net.named_parameters())


def test_inner_products_are_exact_under_autocast():
    torch.manual_seed(0)
    net = create_net("isresnext_tiny", (4,))
    x, labels = batch(torch.float32)
    rule = OrthogonalGradients("net").build(net, RunFacts())
    stages: list[dict[str, torch.Tensor]] = []

    def loss(group):
        losses = [criterion((output[0].float(),), labels) for _, output in group]
        named = dict(net.named_parameters())
        for one in losses:
            found = torch.autograd.grad(one, list(named.values()), retain_graph=True, materialize_grads=True)
            stages.append(dict(zip(named, found, strict=True)))
        return losses

    with torch.autocast("cpu", torch.bfloat16):
        rule(net, x, (1, 2, 3), loss)
    shared = [name for name, users in parameter_users(net).items() if len(users) > 1]
    rows = np.stack([torch.cat([s[n].flatten() for n in shared]).double().numpy() for s in stages])
    found = torch.cat([net.get_parameter(n).grad.flatten() for n in shared]).double().numpy()
    assert np.abs(found - gram_schmidt(rows).sum(axis=0)).max() < 1e-5 * np.abs(rows).max()


@pytest.mark.parametrize("config", RULES[::4])
@pytest.mark.parametrize("name", ["iresnext_tiny", "resnext_exits_tiny"])
def test_several_label_levels_and_reported_losses_are_those_of_a_plain_step(config, name):
    torch.manual_seed(0)
    net = create_net(name, (4, 2))
    plain = copy.deepcopy(net)
    x, (fine,) = batch(torch.float32)
    labels = (fine, fine // 2)
    losses = Scheme(gradients=config).build(net).step(net, x, labels, Classification((4, 2)).loss)
    expected = Scheme().build(plain).step(plain, x, labels, Classification((4, 2)).loss)
    assert list(losses) == list(expected)
    for stage, loss in losses.items():
        torch.testing.assert_close(loss, expected[stage], rtol=1e-5, atol=1e-6)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_blocks_are_the_members_of_lists_and_the_modules_at_the_top():
    names = [name for name, _ in build("isresnext_tiny").named_parameters()]
    expected = {"stem", *(f"blocks.{i}" for i in range(3)), *(f"heads.{i}" for i in range(3))}
    assert {block_of(name) for name in names} == expected
    assert block_of("conv.rows.0") == "conv"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            lambda: OrthogonalGradients(scope="layer"),  # type: ignore[arg-type]
            "scope 'layer' does not exist: take one of tensor, block",
        ),
        (lambda: OrthogonalGradients(first="last"), "first 'last' does not exist: take one of early, late"),  # type: ignore[arg-type]
        (
            lambda: ConflictProjection(scope="all"),  # type: ignore[arg-type]
            "scope 'all' does not exist: take one of tensor, block, net",
        ),
        (
            lambda: ConflictProjection(order="up"),  # type: ignore[arg-type]
            "order 'up' does not exist: take one of random, early, late",
        ),
    ],
)
def test_a_choice_that_does_not_exist_is_refused_with_those_that_do(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()
