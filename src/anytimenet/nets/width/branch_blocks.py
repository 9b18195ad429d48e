"""Blocks of parallel branches of which a stage runs the first few, and what is left of one for one stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.layers.norms import PrefixBatchNorm2d
from anytimenet.layers.snapshots import conv_view, norm_view


class BranchBlock(nn.Module):
    """Pre-activation bottleneck block whose first branches can run without the rest."""

    def __init__(self, width: int, branch_width: int, branches: int, norm_branches: Sequence[int]) -> None:
        super().__init__()
        self.branch_width = branch_width
        middle = branches * branch_width
        self.conv1 = nn.Conv2d(width, middle, 1, bias=False)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, groups=branches, bias=False)
        self.conv3 = nn.Conv2d(middle, width, 1, bias=False)
        self.norms = nn.ModuleList(BlockNorms(width, count * branch_width) for count in norm_branches)

    def norms_of(self, stage: int) -> BlockNorms:
        """The BatchNorms that `stage` uses: its own, or the one shared set."""
        norms = self.norms[stage - 1 if len(self.norms) > 1 else 0]
        assert isinstance(norms, BlockNorms)
        return norms

    def forward(self, x: Tensor, stage: int, branches: int) -> Tensor:
        norms = self.norms_of(stage)
        middle = branches * self.branch_width
        h = F.conv2d(F.relu_(norms.norm1(x)), self.conv1.weight[:middle])
        h = F.conv2d(F.relu_(norms.norm2(h)), self.conv2.weight[:middle], padding=1, groups=branches)
        return x + F.conv2d(F.relu_(norms.norm3(h)), self.conv3.weight[:, :middle])


class BlockNorms(nn.Module):
    """The three BatchNorms of one block."""

    def __init__(self, width: int, middle: int) -> None:
        super().__init__()
        self.norm1 = PrefixBatchNorm2d(width)
        self.norm2 = PrefixBatchNorm2d(middle)
        self.norm3 = PrefixBatchNorm2d(middle)


class PlainBranches(nn.Module):
    """One block cut to the branches of one stage: real filters and real columns, nothing padded."""

    folds = (("conv1", "norm2"), ("conv2", "norm3"))

    def __init__(self, block: BranchBlock, stage: int, branches: int) -> None:
        super().__init__()
        norms = block.norms_of(stage)
        middle = branches * block.branch_width
        self.norm1 = norm_view(norms.norm1)
        self.conv1 = conv_view(block.conv1.weight[:middle])
        self.norm2 = norm_view(norms.norm2, 0, middle)
        self.conv2 = conv_view(block.conv2.weight[:middle], padding=1, groups=branches)
        self.norm3 = norm_view(norms.norm3, 0, middle)
        self.conv3 = conv_view(block.conv3.weight[:, :middle])

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.relu_(self.norm1(x)))
        h = self.conv2(F.relu_(self.norm2(h)))
        y: Tensor = x + self.conv3(F.relu_(self.norm3(h)))
        return y
