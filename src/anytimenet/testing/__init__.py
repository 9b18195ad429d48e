"""Public proof that a net keeps the contract: `check_anytime_net`, for this project's nets and for yours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from anytimenet.core.errors import require
from anytimenet.costs import Rule
from anytimenet.nets.contract import AnytimeNet
from anytimenet.testing.backends import check_backend as check_backend
from anytimenet.testing.cost_rules import check_costs
from anytimenet.testing.exporting import check_export
from anytimenet.testing.keeping import check_keep, check_keep_on_meta, check_shards
from anytimenet.testing.net_under_test import NetUnderTest
from anytimenet.testing.outputs import check_bad_stages, check_batch, check_forward
from anytimenet.testing.parts import (
    check_buffers,
    check_gradients,
    check_parts_cover,
    check_parts_effect,
    check_segment_size,
)
from anytimenet.testing.passes import check_passes
from anytimenet.testing.promise import Check, ContractError
from anytimenet.testing.segments import (
    check_last,
    check_paths,
    check_segments,
    check_snapshots,
    check_state_is_read,
    check_state_spec,
)
from anytimenet.testing.single_checks import NetCheck, NetSource, Subjects, check_expected, named_nets
from anytimenet.testing.states import check_advance, check_rows
from anytimenet.testing.threads import check_reentrance, check_threads

if TYPE_CHECKING:
    import pytest

CHECKS: tuple[Check, ...] = (
    check_forward,
    check_bad_stages,
    check_buffers,
    check_snapshots,
    check_state_spec,
    check_segments,
    check_last,
    check_paths,
    check_advance,
    check_batch,
    check_rows,
    check_state_is_read,
    check_parts_cover,
    check_parts_effect,
    check_gradients,
    check_segment_size,
    check_keep,
    check_keep_on_meta,
    check_shards,
    check_passes,
    check_reentrance,
    check_threads,
    check_export,
    check_costs,
)
"""Every check, in the order in which `check_anytime_net` runs them."""


def check_anytime_net(
    net: AnytimeNet,
    input_shape: Sequence[int],
    *,
    seed: int = 0,
    export: bool = True,
    rules: Mapping[str, Rule] | None = None,
) -> None:
    """Proves that a net keeps every promise of the contract, or raises with the name of the first it breaks.

    The proofs run on a deep copy, on the CPU in float64 with random weights and positive biases, on three
    random images; the net and torch's random state stay as they are. Meant for small nets (thousands of
    weights, images of 8 to 32 pixels): a few seconds. "1e-9" and "1e-11" below are the largest difference
    over the largest magnitude. The promises, by name:

    Outputs and segments
        forward: `forward(x, stages)` gives one finite output a stage asked for, in that order, the same
            each time (1e-9), and leaves `x` alone. An output is a tuple of one (N, classes, ..) a level.
        bad stages: stages and segments that do not exist raise ValueError.
        buffers: neither the net nor a segment has non-persistent buffers.
        snapshots: segments, alone or of a snapshot, are in eval mode, the same (1e-9) from a net in training
            mode, and independent of the net's tensors (exact); they cannot be converted. One alone holds
            contiguous tensors of its own, those of one snapshot share memory with each other only, and
            `nbytes` counts it. Taking one changes nothing in the net.
        state spec: names, shapes, dtypes and `continues` are true (exact); state 0 is `(x,)`, named `x`,
            and `x` stays first where it is carried on; the last state is empty.
        segments: for every a < b, `segment(a, b)` on the stepwise state at a gives forward's output b and
            the stepwise state at b (1e-9), and leaves the given state alone.
        last: `last=True` gives the same output alone (1e-9).
        paths: all paths, if at most 32, otherwise 32 seeded ones, give forward's outputs (1e-9).
        advance: `advance` gives the output and just those tensors of the new state that are not carried
            (1e-9); one that `changes` says to continue another begins with it (exact) and came from `join`;
            `reads` and `writes` are the names of the states.
        batch: a batch of three equals three batches of one in eval mode (1e-9).
        rows: some rows of a state give those rows of the next state and output (1e-9), for every a < b.
        state is read: every state tensor changes the output of a later segment (1e-11) *.
    Ownership
        parts cover: parts are disjoint and cover every scalar of the state_dict.
        parts effect: overwriting a part changes exactly the outputs of its stages (1e-11; integer
            counters exempt) *.
        gradients: exactly 0 outside the parts of a stage, in eval and training mode; in eval mode not all
            0 inside any *; with `forward(x, (k,))`, None for just the parameters of which no part has k.
        segment size: `segment(0, k, last=True)` holds as many parameters as the parts of k.
        keep: every prefix and up to four other subsets give the net's outputs (1e-9), from their own
            memory, with parts that cover; keep(1..k) keeps names and parts; the mode is kept.
        keep on meta: `keep` gives the same names, shapes, dtypes and parts on the meta device.
        shards: the parts with a stage up to k fill a keep(1..k)-ed net that was built on the meta device;
            its outputs are the net's (1e-9).
    Training
        passes: gradients, their Nones, and buffers after `passes` are those after `forward` (1e-9); the
            stage asked for first comes in the first group, every stage once.
    Running
        re-entrance: results stay right (1e-9) when the net is called with another stage, or a segment
            with another state, at each operator.
        threads: the same in threads that take turns at each operator, and that run freely.
        export: `torch.export` takes the first, a middle and the last step with a dynamic batch; at other
            batch sizes the programs agree with the segments (1e-9).
        costs: counted multiply-adds, in the `macs` and the `full` convention, exact: each step more than
            nothing; (a, b) at most (0, b) and at most the sum of its steps; (0, a) less than (0, b)
            where (a, b) reads more than `x` of the state at a.

    * One draw of the weights may hide an effect behind a ReLU: it must show in one of eight draws.

    Each promise is a `Check` of its own too, callable with a `NetUnderTest`: see `CHECKS`.

    Args:
        net: any `AnytimeNet` with values.
        input_shape: (C, H, W) of one image.
        seed: of the random weights and images.
        export: False leaves out `torch.export`, the slowest promise.
        rules: costs of operators that the counter does not know; see `anytimenet.costs.count`.

    Raises:
        ContractError: an AssertionError that names the promise, the place and the likely cause.
        TypeError: for anything but an `AnytimeNet`.
        ValueError: if the net is on the meta device, or `input_shape` is not (C, H, W).

    >>> from anytimenet.nets import create_net
    >>> check_anytime_net(create_net("isresnext_tiny", num_classes=5), (3, 8, 8), export=False)
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        subject = NetUnderTest(net, input_shape, seed=seed, rules=rules)
        for check in CHECKS:
            if export or check is not check_export:
                check(subject)


def parametrize_with_checks(
    nets: Mapping[str, NetSource] | Sequence[NetSource],
    input_shape: Sequence[int] | Mapping[str, Sequence[int]],
    *,
    expected_failures: Mapping[str, str] | None = None,
    seed: int = 0,
    export: bool = True,
    rules: Mapping[str, Rule] | None = None,
) -> pytest.MarkDecorator:
    """A pytest decorator that gives every promise of every net a test of its own, which `-k` selects.

    The test has one argument, `check`, and calls it: `def test_contract(check): check()`. Its id is the net's
    name and the promise, spaces as underscores, `my_net-state_spec` for example. The proofs are those of
    `check_anytime_net`; each gives the same alone and among others.

    Args:
        nets: nets or functions that build them, by name or as a list.
        input_shape: of one example, for all nets or for each by name.
        expected_failures: the promises that these nets are known to break, each with the reason. One that is
            kept all the same fails the test, so that no excuse outlives its cause.
        seed, export, rules: as in `check_anytime_net`.

    Raises:
        ValueError: if `expected_failures` names no promise.
        MissingExtraError: without pytest.

    >>> from anytimenet.nets import create_net
    >>> mark = parametrize_with_checks({"tiny": lambda: create_net("isresnext_tiny")}, (3, 8, 8))
    >>> [param.id for param in mark.args[1]][:2]
    ['tiny-forward', 'tiny-bad_stages']
    """
    found, expected = require("pytest", "dev"), expected_failures or {}
    check_expected(expected, CHECKS)
    named = named_nets(nets)
    shapes = input_shape if isinstance(input_shape, Mapping) else dict.fromkeys(named, input_shape)
    subjects = Subjects(named, shapes, seed, rules)
    cases = [
        NetCheck(name, check, subjects)
        for name in named
        for check in CHECKS
        if export or check is not check_export
    ]
    fails = {
        promise: (found.mark.xfail(raises=ContractError, reason=reason, strict=True),)
        for promise, reason in expected.items()
    }
    params = [found.param(case, id=case.id, marks=fails.get(case.check.promise, ())) for case in cases]
    mark: pytest.MarkDecorator = found.mark.parametrize("check", params)
    return mark


__all__ = [
    "CHECKS",
    "Check",
    "ContractError",
    "NetUnderTest",
    "check_advance",
    "check_anytime_net",
    "check_backend",
    "check_bad_stages",
    "check_batch",
    "check_buffers",
    "check_costs",
    "check_export",
    "check_forward",
    "check_gradients",
    "check_keep",
    "check_keep_on_meta",
    "check_last",
    "check_parts_cover",
    "check_parts_effect",
    "check_passes",
    "check_paths",
    "check_reentrance",
    "check_rows",
    "check_segment_size",
    "check_segments",
    "check_shards",
    "check_snapshots",
    "check_state_is_read",
    "check_state_spec",
    "check_threads",
    "parametrize_with_checks",
]
