"""Layers whose first channels work without the rest, with normalisation for each stage.

Source: Yu et al., "Slimmable Neural Networks" (2019), statistics and scales for each width; Yu and Huang,
"Universally Slimmable Networks and Improved Training Techniques" (2019), shared scales, and statistics that
are estimated after training.

`channels` is always a mapping from each stage that uses the layer to its number of channels there, with the
stages in order; the numbers never fall from one stage to the next. Channels are used from the first on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.errors import suggest
from anytimenet.layers.heads import PooledHead
from anytimenet.layers.snapshots import conv_view, linear_view, norm_view

NORMALISATIONS = ("own", "recalibrate")


class ConvNorm(nn.Module):
    """A convolution without bias and the normalisation behind it: `(N, inputs[k], H, W)` to
    `(N, channels[k], H, W)` for stage k.

    Args:
        inputs: channels that each stage reads.
        channels: channels that each stage computes.
        kernel: side of the filters; padded so that stride 1 keeps the size of the image.
        stride: of the convolution.
        normalisation: "own", see `OwnNorms`, or "recalibrate", see `SharedAffineNorm`.

    Raises:
        ValueError: for another normalisation.

    >>> layer = ConvNorm({1: 2, 2: 4}, {1: 3, 2: 6}, 3)
    >>> layer(torch.zeros(5, 2, 8, 8), 1).shape, layer(torch.zeros(5, 4, 8, 8), 2).shape
    (torch.Size([5, 3, 8, 8]), torch.Size([5, 6, 8, 8]))
    """

    def __init__(
        self,
        inputs: Mapping[int, int],
        channels: Mapping[int, int],
        kernel: int,
        *,
        stride: int = 1,
        normalisation: str = "own",
    ) -> None:
        super().__init__()
        if normalisation not in NORMALISATIONS:
            raise ValueError(
                f"no normalisation is named {normalisation!r}: {suggest(str(normalisation), NORMALISATIONS)}"
            )
        self.inputs = dict(inputs)
        self.channels = dict(channels)
        self.conv = PrefixConv2d(
            max(inputs.values()), max(channels.values()), kernel, stride, kernel // 2, bias=False
        )
        self.norm = OwnNorms(channels) if normalisation == "own" else SharedAffineNorm(channels)

    def forward(self, x: Tensor, stage: int) -> Tensor:
        y: Tensor = self.norm(self.conv(x, self.channels[stage]), stage)
        return y

    def plain(self, stage: int) -> nn.Sequential:
        """A plain convolution and a plain BatchNorm that read what `stage` uses."""
        weight = self.conv.weight[: self.channels[stage], : self.inputs[stage]]
        conv = conv_view(weight, stride=self.conv.stride[0], padding=self.conv.kernel_size[0] // 2)
        return nn.Sequential(conv, self.norm.plain(stage))


class PrefixConv2d(nn.Conv2d):
    """A Conv2d without bias or groups that computes its first output channels from its first input channels.

    The input's width says which columns: `(N, n, H, W)` with n <= in_channels.

    >>> PrefixConv2d(4, 8, 1, bias=False)(torch.zeros(2, 3, 5, 5), 6).shape
    torch.Size([2, 6, 5, 5])
    """

    def forward(self, input: Tensor, out_channels: int | None = None) -> Tensor:
        weight = self.weight[:out_channels, : input.shape[1]]
        return F.conv2d(input, weight, None, self.stride, self.padding)


class PrefixLinear(nn.Linear):
    """A Linear that accepts its first n inputs, too, and then uses its first n columns and the whole bias."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight[:, : input.shape[-1]], self.bias)


class PrefixHead(PooledHead):
    """A `PooledHead` for features that come out of a ReLU, `(N, n, H, W)` with n <= channels.

    The classifiers of narrower features are the first columns of those of the widest; the biases are shared.

    >>> [tuple(t.shape) for t in PrefixHead(8, (10, 2))(torch.zeros(3, 5, 4, 4))]
    [(3, 10), (3, 2)]
    """

    def __init__(self, channels: int, num_classes: Sequence[int]) -> None:
        super().__init__(channels, (), relu=False)
        self.levels.extend(PrefixLinear(channels, classes) for classes in num_classes)

    def plain(self, channels: int) -> PooledHead:
        """A head for features of so many channels that reads the columns it needs."""
        head = PooledHead(channels, (), relu=False)
        for level in self.levels:
            assert isinstance(level, nn.Linear)
            head.levels.append(linear_view(level.weight[:, :channels], level.bias))
        return head


class OwnNorms(nn.ModuleDict):
    """A BatchNorm2d for each stage; called with `(N, channels[k], H, W)` and k.

    >>> OwnNorms({1: 2, 2: 4})(torch.zeros(3, 2, 1, 1), 1).shape
    torch.Size([3, 2, 1, 1])
    """

    def __init__(self, channels: Mapping[int, int]) -> None:
        super().__init__({name_of(stage): nn.BatchNorm2d(count) for stage, count in channels.items()})

    def forward(self, x: Tensor, stage: int) -> Tensor:
        y: Tensor = self[name_of(stage)](x)
        return y

    def plain(self, stage: int) -> nn.BatchNorm2d:
        """The BatchNorm of `stage`, in eval mode."""
        norm = self[name_of(stage)]
        assert isinstance(norm, nn.BatchNorm2d)
        return norm_view(norm)


class SharedAffineNorm(nn.Module):
    """Batch normalisation with one scale and shift, cut to each stage's channels, and statistics per stage.

    In training mode it normalises with the statistics of the batch and tracks nothing. In eval mode it uses
    those of the stage, which must have been estimated before: while its `StageStatistics` is in training mode
    that one updates them with every batch.

    Called with `(N, channels[k], H, W)` and k.

    >>> norm = SharedAffineNorm({1: 2, 2: 4})
    >>> norm(torch.zeros(3, 2, 1, 1), 1).shape, int(norm.of_stage(1).counter)
    (torch.Size([3, 2, 1, 1]), 0)
    """

    def __init__(self, channels: Mapping[int, int]) -> None:
        super().__init__()
        width = max(channels.values())
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width))
        self.statistics = nn.ModuleDict(
            {name_of(stage): StageStatistics(count) for stage, count in channels.items()}
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The scale to 1 and the shift to 0."""
        self.weight.fill_(1)
        self.bias.zero_()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        for name, statistics in self.statistics.items():
            # Scales without statistics (an average of parameters, say): those that are here were of others.
            lacks = f"{prefix}statistics.{name}.num_batches_tracked" not in state_dict
            if lacks and f"{prefix}weight" in state_dict:
                assert isinstance(statistics, StageStatistics)
                statistics.counter.zero_()

    def of_stage(self, stage: int) -> StageStatistics:
        """The statistics of `stage`."""
        found = self.statistics[name_of(stage)]
        assert isinstance(found, StageStatistics)
        return found

    def forward(self, x: Tensor, stage: int) -> Tensor:
        statistics = self.of_stage(stage)
        weight, bias = self.weight[: x.shape[1]], self.bias[: x.shape[1]]
        if self.training:
            return F.batch_norm(x, None, None, weight, bias, training=True, eps=statistics.eps)
        y: Tensor = statistics(x, weight, bias)
        return y

    def plain(self, stage: int) -> nn.BatchNorm2d:
        """A plain BatchNorm2d that reads what `stage` uses, in eval mode."""
        statistics = self.of_stage(stage)
        norm = nn.BatchNorm2d(
            statistics.num_features, statistics.eps, statistics.momentum, affine=False, device="meta"
        )
        norm.weight = nn.Parameter(self.weight[: statistics.num_features])
        norm.bias = nn.Parameter(self.bias[: statistics.num_features])
        norm._buffers.update(statistics._buffers)
        return norm_view(norm)


class StageStatistics(nn.BatchNorm2d):
    """The mean and variance of the channels of one stage: a BatchNorm2d that is given its scale and shift.

    It counts as estimated once it has seen a batch in training mode (`num_batches_tracked`). A class of its
    own, so that whatever changes BatchNorms by type, such as synchronisation between processes, refuses it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)

    @property
    def counter(self) -> Tensor:
        """How many batches were seen in training mode."""
        assert self.num_batches_tracked is not None
        return self.num_batches_tracked

    def forward(self, input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        momentum = self.momentum
        if self.training:
            self.counter.add_(1)
            if momentum is None:
                momentum = 1 / float(self.counter)
        return F.batch_norm(
            input, self.running_mean, self.running_var, weight, bias, self.training, momentum or 0.0, self.eps
        )


def name_of(stage: int) -> str:
    """The name of what belongs to one stage alone, in a ModuleDict and so in the state_dict.

    >>> name_of(3)
    'stage3'
    """
    return f"stage{stage}"
