"""Predictions on the way through any feed-forward net: the general form of early exits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import nn

from anytimenet.core import checks
from anytimenet.core.segments import INPUT, InputSpec
from anytimenet.layers.heads import HEADS, HeadConfig, build_head, default_head, is_channels_last
from anytimenet.layers.heads.transposed import ChannelsLast
from anytimenet.nets.arguments import check_exits
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.chain.shapes import check_features, check_heads, node_shapes

HeadBuilder = Callable[[tuple[int, ...]], nn.Module]
"""From the shape of features, (C, H, W) or (T, D), to the module that predicts from them."""

HeadChoice = str | HeadConfig | HeadBuilder
"""A head by name ("linear", "conv", "mlp", "token"), by name with options, or a function that builds it."""

HEAD_EXAMPLE = "lambda shape: PooledHead(shape[0], num_classes)"


class ExitNet(ChainNet):
    """A stem and a list of blocks that run one after the other, with a head after some of them.

    The augmentation of a feed-forward net with auxiliary predictors (Hu et al., "Learning Anytime
    Predictions in Neural Networks via Adaptive Loss Balancing"; Teerapittayanon et al., "BranchyNet"). Stage
    k runs the stem and the first `exits_after[k-1]` blocks; the state is the last block's features.

    Args:
        stem: runs first; None if the first block reads the images.
        blocks: modules that each read the one before; any `nn.Sequential` is such a list.
        exits_after: for each stage the number of blocks that it runs, increasing, the last of them all.
        head: what predicts at the exits. A name, "linear", "conv", "mlp" or "token"; a
            `layers.heads.HeadConfig`, which is a name with options; or a function that is called with the
            shape of the features at an exit, (C, H, W) or (T, D), and returns a module that gives logits, or
            a tuple of logits, one tensor a label level. By default `layers.heads.Head`: BatchNorm, ReLU,
            global average pooling and one linear layer; of tokens `layers.heads.TokenHead`: LayerNorm, their
            mean and one linear layer.
        heads: instead of `head`, a choice for each stage; None in it stands for the default.
        num_classes: classes, or one number for each label level.
        input_shape: (C, H, W) of images that the net is made for; what the heads read is found with it. None:
            (3, 32, 32), or the smallest that `input_spec` allows.
        input_spec: what the net reads, if that is not images of any size with so many channels.

    Raises:
        ValueError: if `exits_after` does not increase up to the number of blocks, a block cannot read what
            the one before it gives, or a block overwrites its input where a head or another segment reads it.

    >>> import torch
    >>> layers = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU())
    >>> net = ExitNet(layers[0], layers[1:], exits_after=(1, 3), input_shape=(1, 8, 8))
    >>> [tuple(logits.shape) for (logits,) in net(torch.zeros(2, 1, 8, 8))]
    [(2, 10), (2, 10)]
    """

    def __init__(
        self,
        stem: nn.Module | None,
        blocks: Iterable[nn.Module],
        exits_after: Sequence[int],
        head: HeadChoice | None = None,
        *,
        heads: Sequence[HeadChoice | None] | None = None,
        num_classes: int | Sequence[int] = 10,
        input_shape: Sequence[int] | None = None,
        input_spec: InputSpec | None = None,
    ) -> None:
        for unit in (*(() if stem is None else (stem,)), *(units := list(checks.several(blocks, "blocks")))):
            checks.instance(unit, nn.Module, "stem and each of blocks", "nn.Conv2d(3, 16, 3)")
        input_spec, input_shape = input_for(input_shape, input_spec)
        exits = check_exits(exits_after, len(units))
        choices = head_choices(head, heads, len(exits))
        classes = checks.class_counts(num_classes)
        names = [f"block{number}" for number in range(1, len(units) + 1)]
        before = [INPUT if stem is None else "stem", *names]
        nodes = [Node(name, unit, (read,)) for name, unit, read in zip(names, units, before, strict=False)]
        if stem is not None:
            nodes.insert(0, Node("stem", stem, (INPUT,)))
        offset = 0 if stem is None else 1
        cuts = [0, *(stop + offset for stop in exits)]
        pieces = [nodes[start:stop] for start, stop in pairwise(cuts)]
        exit_names = [names[stop - 1] for stop in exits]
        weights = (weight for node in nodes for weight in node.module.parameters())
        dtype = next((weight.dtype for weight in weights), torch.float32)
        shapes = node_shapes(nodes, input_shape, dtype=dtype, kept={INPUT, *exit_names})
        read = {name: shapes[name] for name in exit_names}
        made = [new.to(dtype) for new in new_heads(choices, read, classes, square=is_square(input_shape))]
        check_heads(made, list(read.values()), classes, dtype=dtype)
        super().__init__(
            pieces,
            exit_names,
            made,
            num_classes=classes,
            input_spec=input_spec,
        )
        self.exits_after, self.input_shape = exits, input_shape


def input_for(shape: Sequence[int] | None, spec: InputSpec | None) -> tuple[InputSpec, tuple[int, ...]]:
    """What a net reads, and an example's shape, each settled by the other where it is not given."""
    if spec is None:
        spec = InputSpec("images", 3 if shape is None else checks.shape_of_images(shape)[0])
        shape = (3, 32, 32) if shape is None else shape
    checks.instance(spec, InputSpec, "input_spec", 'InputSpec("images", 3, smallest=8)')
    shape = spec.smallest_shape if shape is None else spec.shape_of(shape)
    spec.check(shape)
    return spec, shape


def head_choices(
    head: HeadChoice | None, heads: Sequence[HeadChoice | None] | None, count: int
) -> list[HeadConfig | HeadBuilder | None]:
    """The choice for each of `count` exits, from one for all, `head`, or one for each, `heads`.

    Raises:
        TypeError: for what is neither a name, a configuration nor a function.
        ValueError: for an unknown name, both arguments at once, or another number of `heads`.

    >>> head_choices("conv", None, 2)[1].kind
    'conv'
    """
    if heads is None:
        return [_head_choice(head, "head")] * count
    if head is not None:
        raise ValueError("give head, one choice for all exits, or heads, one for each, not both")
    found = [_head_choice(choice, "each of heads") for choice in checks.several(heads, "heads")]
    if len(found) != count:
        raise ValueError(f"heads holds {len(found)} choices: {count} are needed, one for each exit")
    return found


def new_heads(
    choices: Sequence[HeadConfig | HeadBuilder | None],
    read: Mapping[str, tuple[int, ...]],
    num_classes: Sequence[int],
    *,
    square: bool = False,
    channels_last: Collection[str] | None = None,
) -> list[nn.Module]:
    """A head for the features of each place in `read`, given by their shape.

    Args:
        choices: for each place what `head_choices` gives.
        square: whether the net reads square images, so that features with channels last can be told.
        channels_last: the places whose features have them last, where that is known. A function that builds
            a head is then called with channels first, and its head reads them so.

    Raises:
        ValueError: if a head cannot be built for its features, or a place gives no features.
    """
    made = []
    for choice, (place, shape) in zip(choices, read.items(), strict=True):
        check_features(shape, place)
        last = place in channels_last if channels_last is not None else square and is_channels_last(shape)
        if choice is None:
            made.append(default_head(shape, num_classes, channels_last=last))
        elif isinstance(choice, HeadConfig):
            made.append(build_head(choice, shape, num_classes, channels_last=last))
        elif last and channels_last is not None:
            made.append(ChannelsLast(_built_by(choice, (shape[2], *shape[:2]))))
        else:
            made.append(_built_by(choice, shape))
    return made


def is_square(shape: Sequence[int]) -> bool:
    """Whether an example of this shape is an image (C, H, W) as high as it is wide."""
    return len(shape) == 3 and shape[1] == shape[2]


def _head_choice(head: object, name: str) -> HeadConfig | HeadBuilder | None:
    if isinstance(head, str):
        return HeadConfig(checks.choice(head, name, HEADS))
    if head is None or isinstance(head, HeadConfig):
        return head
    if isinstance(head, nn.Module):
        raise ValueError(f"{name} is a function of the features' shape that returns a module, not a module")
    checks.function(head, name, f'{HEAD_EXAMPLE}, or one of the names "{", ".join(HEADS)}"')
    return head  # type: ignore[return-value]


def _built_by(build: HeadBuilder, shape: tuple[int, ...]) -> nn.Module:
    try:
        head = build(shape)
    except (TypeError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"head cannot build a module for features of shape {shape} ({reason}): it is called with that "
            f"shape, as in {HEAD_EXAMPLE}"
        ) from error
    return checks.instance(head, nn.Module, "what head returns", "nn.Linear(16, 10)")
