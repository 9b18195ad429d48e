"""Exits on a module that exists already, trained or not: `wrap(module, taps)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anytimenet.core import checks
from anytimenet.core.errors import NeedsValuesError, suggest
from anytimenet.core.segments import INPUT, InputSpec
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.chain.exits import HeadChoice, head_choices, input_for, new_heads
from anytimenet.nets.chain.shapes import check_heads, node_shapes
from anytimenet.nets.wrapped.capture import folds, in_eval_mode, logits_of
from anytimenet.nets.wrapped.cutting import Cut, cut_at
from anytimenet.nets.wrapped.layout import channels_are_last
from anytimenet.nets.wrapped.placement import equal_cost_taps, possible_taps
from anytimenet.nets.wrapped.region import FrozenRegion, Region
from anytimenet.nets.wrapped.sameness import check_answer, check_in_training, check_one, fixed_size
from anytimenet.nets.wrapped.slicing import followed


def wrap(
    module: nn.Module,
    taps: Sequence[str] | None = None,
    head: HeadChoice | None = None,
    *,
    exits: int | None = None,
    heads: Sequence[HeadChoice | None] | None = None,
    frozen: bool = False,
    input_shape: Sequence[int] = (3, 32, 32),
    input_spec: InputSpec | None = None,
    coarser: Sequence[int] = (),
) -> ChainNet:
    """Adds a prediction after each of the sub-modules `taps`; the module's own answer is the last stage.

    The module's forward is followed once with `torch.export`, to see which sub-modules run, what is computed
    between them and what each reads. The wrapped net runs the module's own sub-modules: they are not copied,
    so that training the wrapped net trains the module. What lies between them, an addition or a class token,
    becomes small modules of operators that hold the weights they use. Names in the state_dict are those of
    the module, behind the block and the node; buffers that the module's leaves out are in it. One example of
    random pixels is sent through to see that the wrapped net gives the module's own answer, in evaluation and
    in training.

    Args:
        module: takes images `(N, C, H, W)`, returns logits `(N, classes)`, or a structure with `logits`.
        taps: names as in `module.named_modules()`, in the order in which they run, for example
            ("layer1", "layer2.0"). A sub-module that gives several tensors is tapped at the only one that is
            used.
        head: what predicts at the taps, as in `ExitNet`: a name, "linear", "conv", "mlp" or "token", a
            `HeadConfig`, or a function of the features' shape, (C, H, W) or (T, D). Features with channels
            last reach what it builds with channels first.
        exits: instead of `taps`, the number of predictions, the module's own answer included: they are placed
            after blocks that divide its work as equally as can be, see `nets.wrapped.placement`.
        heads: instead of `head`, a choice for each tap.
        frozen: only the new heads learn: the module gets no gradient and stays in eval mode, statistics of
            BatchNorm included, so that training never changes its own answer. (`check_anytime_net` expects
            every weight to learn: check the net without `frozen`.)
        input_shape: (C, H, W) of the example.
        input_spec: what the module reads. By default images with so many channels, of the example's size only
            where the module, or what it computes between sub-modules, holds for no other.
        coarser: classes of the coarser label levels, finer to coarser. The module answers on the fine level;
            the last stage gets new heads for the others.

    Raises:
        ValueError: for a name that does not exist or does not run, for a tap inside a part that cannot be
            separated, or a module whose forward depends on values.

    >>> from collections import OrderedDict
    >>> small = nn.Sequential(
    ...     OrderedDict(
    ...         features=nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU()),
    ...         pool=nn.AdaptiveAvgPool2d(1),
    ...         flatten=nn.Flatten(),
    ...         classify=nn.Linear(16, 10),
    ...     )
    ... )
    >>> net = wrap(small, ["features.1"], input_shape=(3, 8, 8))
    >>> net.num_stages, [tuple(logits.shape) for (logits,) in net(torch.zeros(2, 3, 8, 8))]
    (2, [(2, 10), (2, 10)])
    """
    checks.instance(module, nn.Module, "module", "nn.Sequential(...)")
    named, count = _places(module, taps, exits)
    choices = head_choices(head, heads, count)
    frozen = checks.flag(frozen, "frozen")
    given_spec = input_spec
    input_spec, input_shape = input_for(input_shape, input_spec)
    coarser = checks.whole_numbers(coarser, "coarser", 1, checks.MOST_CLASSES)
    _check_has_values(module)
    example = _example(module, input_shape)
    answer = _own_answer(module, example)
    taps = named or equal_cost_taps(possible_taps(module, example), count)
    captured, steps = followed(module, example, taps)
    cut = cut_at(captured, steps, taps, module)
    build = FrozenRegion if frozen else Region
    pairs = folds(captured)
    nodes = [
        Node(
            cut.names[group.gives],
            build(group, module, captured.constants, pairs),
            tuple(cut.names.get(value, value) for value in group.reads),
        )
        for group in cut.groups
    ]
    classifier = build(cut.classifier, module, captured.constants, pairs)
    check_answer(nodes, classifier, example, answer)
    check_one(module, nodes, classifier, example[:1])
    if not frozen:
        check_in_training(module, Region(cut.whole, module, captured.constants), example)
    classes = (answer.shape[1], *coarser)
    read_by = [*(cut.names[value] for value in cut.taps), cut.classifier_reads]
    kept = {INPUT, *(node.name for node in nodes)}
    shapes = node_shapes(nodes, input_shape, dtype=example.dtype, kept=kept)
    read = {tap: shapes[cut.names[value]] for tap, value in zip(taps, cut.taps, strict=True)}
    last = {tap for tap, value in zip(taps, cut.taps, strict=True) if _is_last(cut, value)}
    made = [new.to(example) for new in new_heads(choices, read, classes, channels_last=last)]
    own: nn.Module = classifier
    if coarser:
        place = "the last stage"
        last = {place} if _is_last(cut, cut.classifier.reads[0]) else set()
        (added,) = new_heads([None], {place: shapes[read_by[-1]]}, coarser, channels_last=last)
        own = _WithCoarser(classifier, added.to(example))
    made.append(own)
    check_heads(made, [shapes[name] for name in read_by], classes, dtype=example.dtype)
    if given_spec is None:
        input_spec = fixed_size(module, nodes, classifier, input_spec, example)
    if frozen:
        module.requires_grad_(False)
    net = ChainNet(_blocks(nodes, read_by), read_by, made, num_classes=classes, input_spec=input_spec)
    net.input_shape = input_shape
    for part in net.modules():
        part._non_persistent_buffers_set.clear()  # a saved net is rebuilt from its state_dict alone
    return net


class _WithCoarser(nn.Module):
    """The module's own classifier for the fine level, beside heads for the coarser ones."""

    def __init__(self, own: nn.Module, coarser: nn.Module) -> None:
        super().__init__()
        self.own = own
        self.coarser = coarser

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.own(x), *self.coarser(x))


def _is_last(cut: Cut, value: str) -> bool:
    return value in cut.program.nodes and channels_are_last(cut.program.nodes[value])


def _blocks(nodes: list[Node], exits: list[str]) -> list[list[Node]]:
    """Each node in the block of the first stage that needs it."""
    inputs = {node.name: node.inputs for node in nodes}
    stage_of: dict[str, int] = {}
    for stage, name in enumerate(exits):
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name not in stage_of and name != INPUT:
                stage_of[name] = stage
                waiting += inputs[name]
    return [[node for node in nodes if stage_of[node.name] == stage] for stage in range(len(exits))]


def _places(module: nn.Module, taps: Sequence[str] | None, exits: int | None) -> tuple[list[str], int]:
    """The taps that are named, and how many there are to be."""
    if (taps is None) == (exits is None):
        raise ValueError("give taps, names of sub-modules such as ['layer1'], or exits, how many predictions")
    if taps is not None:
        named = _check_taps(module, checks.all_words(taps, "taps"))
        return named, len(named)
    return [], checks.whole_number(exits, "exits", 2, checks.MOST_SIDE) - 1


def _check_taps(module: nn.Module, taps: Sequence[str]) -> list[str]:
    names = [name for name, _ in module.named_modules(remove_duplicate=False) if name]
    if isinstance(taps, str) or not taps or not all(isinstance(tap, str) for tap in taps):
        raise ValueError("taps is a list of names of sub-modules, for example ['layer1', 'layer2']")
    if len(set(taps)) != len(taps):
        raise ValueError(f"taps {list(taps)}: name each sub-module once")
    for tap in taps:
        if tap not in names:
            raise ValueError(f"the module has no sub-module {tap!r}: {suggest(tap, names)}")
    first = {part: name for name, part in module.named_modules()}
    return [first[module.get_submodule(tap)] for tap in taps]  # a module may have several names


def _check_has_values(module: nn.Module) -> None:
    weight = next(module.parameters(), None)
    if weight is None or weight.is_meta:
        raise NeedsValuesError(
            "the module needs weights with values: build it on a device before it is wrapped"
        )


def _example(module: nn.Module, input_shape: Sequence[int]) -> Tensor:
    if len(input_shape) != 3:
        raise ValueError(f"input_shape is (C, H, W), not {tuple(input_shape)}")
    generator = torch.Generator(device="cpu").manual_seed(0)
    example = torch.randn(2, *input_shape, generator=generator, device="cpu")
    return example.to(next(module.parameters()))


def _own_answer(module: nn.Module, example: Tensor) -> Tensor:
    try:
        with in_eval_mode(module), torch.no_grad():
            return logits_of(module(example))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the module cannot read images of shape {tuple(example.shape)}: {reason}"
        ) from error
