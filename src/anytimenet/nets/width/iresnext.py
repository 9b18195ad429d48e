"""I-ResNeXt: thin nested sub-networks that share convolutions and keep their own BatchNorms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, Literal

from torch import Tensor, nn

from anytimenet.core.segments import InputSpec
from anytimenet.layers.heads import Head
from anytimenet.layers.init import init_weights
from anytimenet.layers.snapshots import conv_view
from anytimenet.layers.transitions import append_zeros
from anytimenet.nets.arguments import check_blocks, check_branches, check_positive
from anytimenet.nets.contract import (
    AnytimeNet,
    Join,
    Output,
    Part,
    Segment,
    State,
    TensorSpec,
    claim,
    claim_slices,
)
from anytimenet.nets.registry import forms_of
from anytimenet.nets.remembered import remembered, twin
from anytimenet.nets.width.branch_blocks import BranchBlock, PlainBranches

PAPER = "Anytime Neural Prediction via Slicing Networks Vertically, section 2"
Normalisation = Literal["own", "shared"]


class IResNeXt(AnytimeNet):
    """A ResNeXt whose stage k runs the first `branches[k-1]` branches of every block.

    Method card:
        Paper: "Anytime Neural Prediction via Slicing Networks Vertically", section 2 and appendix B.
        Shared: the stem and all convolutions (the first filters, the first input columns).
        Per stage: every BatchNorm (`normalisation="own"`) and the head. With `"shared"`, the paper's
            ablation, one set of BatchNorms whose running statistics every pass updates.
        State: the stem's output. The trunk differs from its first block on, so nothing else can be reused
            and the budget should be known before the run.
        Training: one graph per stage (`passes`), the stem's backward once at the end.
        Deviations: the third convolution reads the kept columns only; the authors' code pads with zeros.

    Args:
        num_classes: classes of each label level, fine level first.
        branches: branches C_k that stage k uses, increasing.
        width: trunk channels W at the first scale.
        branch_width: bottleneck channels B of one branch at the first scale.
        blocks: residual blocks of each scale.
        normalisation: "own" or "shared".
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if `branches` does not increase, or a number is not positive.

    >>> import torch
    >>> net = IResNeXt(num_classes=(10,), branches=(1, 2), width=8, branch_width=2, blocks=(1, 1))
    >>> [logits.shape for (logits,) in net(torch.zeros(4, 3, 8, 8))]
    [torch.Size([4, 10]), torch.Size([4, 10])]
    """

    @remembered
    def __init__(
        self,
        num_classes: Sequence[int] = (10,),
        *,
        branches: Sequence[int] = (1, 2, 3, 4, 5, 6, 7, 8),
        width: int = 64,
        branch_width: int = 4,
        blocks: Sequence[int] = (7, 7, 7),
        normalisation: Normalisation = "own",
        in_channels: int = 3,
        init: str = "msra",
    ) -> None:
        super().__init__()
        self.num_classes = tuple(num_classes)
        self.branches = check_branches(branches)
        check_positive(width=width, branch_width=branch_width, in_channels=in_channels)
        if normalisation not in ("own", "shared"):
            raise ValueError(f"normalisation {normalisation!r} does not exist: 'own' or 'shared' is needed")
        self.num_stages = len(self.branches)
        self.width = width
        self.blocks_per_scale = check_blocks(blocks)
        self.normalisation: Normalisation = normalisation
        self.in_channels = in_channels
        self.input_spec = InputSpec("images", in_channels, 1 << (len(self.blocks_per_scale) - 1))
        own = self.branches if normalisation == "own" else self.branches[-1:]
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(
            BranchBlock(width * 2**scale, branch_width * 2**scale, self.branches[-1], own)
            for scale, count in enumerate(self.blocks_per_scale)
            for _ in range(count)
        )
        features = width * 2 ** (len(self.blocks_per_scale) - 1)
        self.heads = nn.ModuleList(Head(features, self.num_classes) for _ in self.branches)
        init_weights(self, init)

    def forward(self, x: Tensor, stages: Sequence[int] | None = None) -> list[Output]:
        stages = self.check_stages(stages)
        self.check_batch(x.shape)
        stem = self.stem(x)
        return [self._from_stem(stem, stage) for stage in stages]

    def passes(self, x: Tensor, stages: Sequence[int] | None = None) -> Iterator[list[tuple[int, Output]]]:
        """One group per stage, in the order asked for; the stem's own backward runs at the end.

        Raises:
            RuntimeError: where gradients are recorded, if a group had no backward before the next.
        """
        stages = self.check_stages(stages)
        self.check_batch(x.shape)
        stem = self.stem(x)
        if not stem.requires_grad:
            for stage in stages:
                yield [(stage, self._from_stem(stem, stage))]
            return
        total = None
        for stage in stages:
            leaf = stem.detach().requires_grad_()
            yield [(stage, self._from_stem(leaf, stage))]
            if leaf.grad is None:
                raise RuntimeError(
                    f"stage {stage} had no backward: call backward on each group of `passes` before the "
                    "next one, or use `forward` for rules that need every stage's own gradient"
                )
            total = leaf.grad if total is None else total.add_(leaf.grad)
        stem.backward(total)

    def parts(self) -> list[Part]:
        every = range(1, self.num_stages + 1)
        users = [tuple(k for k in every if k >= j) for j in every]
        found = claim(self, "stem.", every)
        for i, block in enumerate(self.blocks):
            assert isinstance(block, BranchBlock)
            borders = [count * block.branch_width for count in self.branches]
            name = f"blocks.{i}."
            found += claim_slices(self, f"{name}conv1.", borders, users)
            found += claim_slices(self, f"{name}conv2.", borders, users)
            found += claim_slices(self, f"{name}conv3.", borders, users, dim=1)
            if self.normalisation == "own":
                for k in every:
                    found += claim(self, f"{name}norms.{k - 1}.", (k,))
            else:
                found += claim(self, f"{name}norms.0.norm1.", every)
                found += claim_slices(self, f"{name}norms.0.norm2.", borders, users)
                found += claim_slices(self, f"{name}norms.0.norm3.", borders, users)
        for k in every:
            found += claim(self, f"heads.{k - 1}.", (k,))
        return found

    def state_spec(self, stage: int, input_shape: Sequence[int]) -> list[TensorSpec]:
        self.check_reached(stage, input_shape)
        channels, height, width = input_shape
        if stage == 0:
            return [self.spec("x", (channels, height, width))]
        if stage == self.num_stages:
            return []
        return [self.spec("stem", (self.width, height, width))]

    def _segment(self, start: int, stop: int, *, last: bool) -> Segment:
        return _ThinSegment(self, start, stop, last=last)

    def _keep(self, stages: tuple[int, ...]) -> IResNeXt:
        def rename(name: str) -> str:
            words = name.split(".")
            for word in ("heads", "norms") if self.normalisation == "own" else ("heads",):
                if word in words:
                    place = words.index(word) + 1
                    words[place] = str(stages[int(words[place])] - 1)
            return ".".join(words)

        return twin(self, IResNeXt, rename, branches=[self.branches[stage - 1] for stage in stages])

    def stages_to_estimate(self) -> tuple[int, ...]:
        shares = self.normalisation == "shared" and self.num_stages > 1
        return () if shares else super().stages_to_estimate()

    def with_own_norms(self) -> AnytimeNet:
        """A net of its own that gives every stage own copies of the shared BatchNorms, cut to its branches.

        With the default `eps` of its BatchNorms it predicts what this net predicts. Its stages can then have
        statistics of their own, see `training.statistics`. A copy, if they have them already.

        >>> shared = IResNeXt(branches=(1, 2), width=8, branch_width=2, normalisation="shared")
        >>> [len(net.blocks[0].norms) for net in (shared, shared.with_own_norms())]
        [1, 2]
        """
        if self.normalisation == "own":
            return super().with_own_norms()

        def rename(name: str) -> str:
            return re.sub(r"\.norms\.\d+\.", ".norms.0.", name)

        own = twin(self, IResNeXt, rename, normalisation="own")
        own.train(self.training)
        if self.origin is not None:
            own.origin = replace(self.origin, arguments={**self.origin.arguments, "normalisation": "own"})
        return own

    def _from_stem(self, x: Tensor, stage: int) -> Output:
        starts = _scale_starts(self.blocks_per_scale)
        for i, block in enumerate(self.blocks):
            x = block(append_zeros(x) if i in starts else x, stage, self.branches[stage - 1])
        output: Output = self.heads[stage - 1](x)
        return output


class _ThinSegment(Segment):
    """Stage `stop` as a plain thin ResNeXt, from the image or from the stem's output."""

    def __init__(self, net: IResNeXt, start: int, stop: int, *, last: bool) -> None:
        super().__init__(net, start, stop, last=last)
        branches = net.branches[stop - 1]
        self.stem = conv_view(net.stem.weight, padding=1) if start == 0 else None
        self.blocks = nn.ModuleList(
            PlainBranches(block, stop, branches) for block in net.blocks if isinstance(block, BranchBlock)
        )
        self.starts = _scale_starts(net.blocks_per_scale)
        self.head = net.heads[stop - 1]
        self.changes = {} if start else self.changes

    def advance(self, state: State, join: Join) -> tuple[dict[str, Tensor], Output]:
        stem = x = state[0] if self.stem is None else self.stem(state[0])
        for i, block in enumerate(self.blocks):
            x = block(append_zeros(x) if i in self.starts else x)
        return dict.fromkeys(self.changes, stem), self.head(x)


def _scale_starts(blocks_per_scale: Sequence[int]) -> frozenset[int]:
    return frozenset(list(accumulate(blocks_per_scale))[:-1])


_ONE_EACH: dict[str, Any] = {"blocks": (1, 1, 1)}

_form = forms_of(IResNeXt, paper=PAPER, family="iresnext")
_form("iresnext_29", (3, 32, 32), "ablation model: L=9 W=64 K=8")(blocks=(3, 3, 3))
_form("iresnext_65", (3, 32, 32), "CIFAR model: L=21 W=64 K=8")()
_form("iresnext_small", (3, 16, 16), "minutes on 2 cores: L=3 W=32 K=4")(
    branches=(1, 2, 3, 4), width=32, **_ONE_EACH
)
_form("iresnext_tiny", (3, 8, 8), "for tests: L=3 W=8 K=3")(
    branches=(1, 2, 3), width=8, branch_width=2, **_ONE_EACH
)
