"""What each stage of a net costs: counted operations and parameters, from the segments that would run."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anytimenet.core.checks import instance
from anytimenet.costs.conventions import OperationCount
from anytimenet.costs.counting import count
from anytimenet.costs.rules import Rules, as_rules
from anytimenet.nets.chain.shapes import ShapesOnly
from anytimenet.nets.contract import AnytimeNet, ChainView, State
from anytimenet.nets.snapshot import Snapshot, meta_copy


@dataclass(frozen=True)
class StageCost:
    """Counted cost of one stage, for one image; `OperationCount` explains the conventions.

    Attributes:
        stage: k, from 1.
        macs: multiply-adds of sub-network k alone.
        full: the same in the `full` convention.
        params: trainable scalars of sub-network k alone.
        macs_step: multiply-adds from finished stage k-1 to stage k's prediction.
        macs_cumulative: multiply-adds of the steps 1..k, all earlier predictions included.
        msd: the same steps in the `msd` convention; of a `ChainNet` its published blocks 1..k, work that
            only later stages need included, and the heads 1..k.
        params_cumulative: trainable scalars that stages 1..k use together; of the last stage, the
            stored parameters of the net.
        uncounted_operators: operators of sub-network k and of the steps to it that no rule counts, so that
            the costs are not complete.
    """

    stage: int
    macs: int
    full: int
    params: int
    macs_step: int
    macs_cumulative: int
    msd: int
    params_cumulative: int
    uncounted_operators: tuple[str, ...] = ()

    @property
    def macs_complete(self) -> bool:
        """Whether every operator is in the counts."""
        return not self.uncounted_operators


def stage_costs(
    net: AnytimeNet, input_shape: Sequence[int], *, rules: Rules | None = None
) -> list[StageCost]:
    """The costs of stages 1..K for one image of `input_shape` (C, H, W).

    Works on a copy of the net on the meta device: nothing is computed, no weight is moved or copied, and
    the net stays as it is, in training or evaluation mode, on whatever device. A net that cannot run on the
    meta device runs once on zeros instead.

    Args:
        net: any anytime net.
        input_shape: (C, H, W), without the batch.
        rules: for operators that the counter does not know, by name: a function as in `count`, or what one
            call costs in multiply-adds, 0 for a free one. Without one they are named in
            `uncounted_operators`.

    Raises:
        ValueError: if the net cannot read images of that shape.
        TypeError: if `rules` is no mapping from names to functions or numbers.

    >>> from anytimenet.nets import create_net
    >>> costs = stage_costs(create_net("isresnext_47"), (3, 32, 32))
    >>> [cost.macs for cost in costs][:2], costs[-1].params_cumulative
    ([12976768, 28902656], 852060)
    """
    instance(net, AnytimeNet, "net", "create_net(NAME)")
    input_shape = net.input_spec.shape_of(input_shape)
    rules = as_rules(rules)
    net, image = countable(net, input_shape)
    snapshot = net.snapshot()
    trainable = {name for name, _ in net.named_parameters()}
    parts = [part for part in net.parts() if part.name in trainable]
    costs: list[StageCost] = []
    run, published = OperationCount(), OperationCount()
    state: State = (image,)
    block_state: State = (image,)
    chain = net.chain()
    for stage in range(1, net.num_stages + 1):
        uncounted: set[str] = set()
        alone = count(snapshot.segment(0, stage, last=True), (image,), rules=rules, uncounted=uncounted)
        lazy, state = _count_step(snapshot, stage, state, rules, uncounted)
        run += lazy
        if chain is not None:
            block, block_state = _count_block(chain, stage, block_state, rules, uncounted)
            published += block
        else:
            published += lazy
        costs.append(
            StageCost(
                stage=stage,
                # A sub-network of nothing that is known costs something all the same.
                macs=max(alone.macs, 1) if uncounted else alone.macs,
                full=max(alone.full, 1) if uncounted else alone.full,
                params=sum(part.numel for part in parts if stage in part.stages),
                macs_step=lazy.macs,
                macs_cumulative=run.macs,
                msd=published.msd,
                params_cumulative=sum(part.numel for part in parts if min(part.stages) <= stage),
                uncounted_operators=tuple(sorted(uncounted)),
            )
        )
    return costs


def countable(net: AnytimeNet, input_shape: Sequence[int]) -> tuple[AnytimeNet, Tensor]:
    """A copy of `net` in eval mode and one image that it reads: on the meta device, or real zeros.

    Real ones where an operator has no shapes to tell without values, such as one of a library.

    Raises:
        ValueError: if the net cannot read images of that shape.
    """
    copied = meta_copy(net).eval()
    dtype = next(net.parameters()).dtype
    image = torch.empty(1, *input_shape, device="meta", dtype=dtype)
    with torch.inference_mode():
        try:
            with ShapesOnly():
                copied(image)  # says what is wrong with the shape, where a segment would only stumble over it
        except (NotImplementedError, RuntimeError) as error:
            if any(parameter.is_meta for parameter in net.parameters()):
                raise
            copied = copy.deepcopy(net).cpu().eval()
            image = torch.zeros(1, *input_shape, dtype=dtype)
            try:
                copied(image)
            except RuntimeError:
                raise error from None
    return copied, image


def _count_step(
    snapshot: Snapshot, stage: int, state: State, rules: Rules, uncounted: set[str]
) -> tuple[OperationCount, State]:
    """The cost of segment (stage - 1, stage) and the state that it leaves."""
    segment = snapshot.segment(stage - 1, stage)
    reached: list[State] = []
    counted = count(lambda: reached.append(segment(state)[0]), rules=rules, uncounted=uncounted)
    return counted, reached[0]


def _count_block(
    chain: ChainView, stage: int, state: State, rules: Rules, uncounted: set[str]
) -> tuple[OperationCount, State]:
    """The cost of a published block with its head, and the state that the block leaves."""
    reached: list[State] = []
    block, head = chain.blocks[stage - 1], chain.heads[stage - 1]
    counted = count(lambda: reached.append(block(state)), rules=rules, uncounted=uncounted)
    return counted + count(head, reached[0], rules=rules, uncounted=uncounted), reached[0]
