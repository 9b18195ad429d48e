"""Exits on a module that exists already, trained or not: `wrap(module, taps)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anytimenet.core import checks
from anytimenet.core.errors import NeedsValuesError, suggest
from anytimenet.core.segments import INPUT, InputSpec
from anytimenet.layers.frozen import Frozen
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.chain.exits import HeadChoice, head_choices, input_for, is_square, new_heads
from anytimenet.nets.chain.shapes import check_heads, node_shapes
from anytimenet.nets.wrapped.tracing import Call, between, calls_in_order


def wrap(
    module: nn.Module,
    taps: Sequence[str],
    head: HeadChoice | None = None,
    *,
    heads: Sequence[HeadChoice | None] | None = None,
    frozen: bool = False,
    input_shape: Sequence[int] = (3, 32, 32),
    input_spec: InputSpec | None = None,
    coarser: Sequence[int] = (),
) -> ChainNet:
    """Adds a prediction after each of the sub-modules `taps`; the module's own answer is the last stage.

    The module's sub-modules are its parts: they are not copied, so that training the wrapped net trains
    the module. They must run in sequence, each on what the one before returned; only flattening and global
    average pooling may happen between them. One example of random pixels is sent through to see that, and
    that the wrapped net gives the module's own answer.

    Args:
        module: takes images `(N, C, H, W)`, returns logits `(N, classes)`.
        taps: names as in `module.named_modules()`, in the order in which they run, for example
            ("layer1", "layer2.0"); the sub-modules around a nested one must run in sequence as well.
        head: what predicts at the taps, as in `ExitNet`: a name, "linear", "conv", "mlp" or "token", a
            `HeadConfig`, or a function of the features' shape.
        heads: instead of `head`, a choice for each tap.
        frozen: only the new heads learn: the module gets no gradient and stays in eval mode, statistics of
            BatchNorm included, so that training never changes its own answer. (`check_anytime_net` expects
            every weight to learn: check the net without `frozen`.)
        input_shape: (C, H, W) of the example.
        input_spec: what the module reads, if that is not images of any size with so many channels.
        coarser: classes of the coarser label levels, finer to coarser. The module answers on the fine level;
            the last stage gets new heads for the others.

    Raises:
        ValueError: for a name that does not exist, or a module whose sub-modules do not run in sequence.

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
    taps = _check_taps(module, checks.all_words(taps, "taps"))
    choices = head_choices(head, heads, len(taps))
    frozen = checks.flag(frozen, "frozen")
    input_spec, input_shape = input_for(input_shape, input_spec)
    coarser = checks.whole_numbers(coarser, "coarser", 1, checks.MOST_CLASSES)
    _check_has_values(module)
    example = _example(module, input_shape)
    was_training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            calls, answer = calls_in_order(module, taps, example)
            pieces = _pieces(calls, taps, Frozen if frozen else nn.Sequential)
            _check_owned(module, calls)
            _check_answer(pieces, example, answer)
            if not frozen:
                _check_in_training(module, pieces, example)
    finally:
        for part, mode in was_training.items():
            part.training = mode
    nodes = [
        Node(f"part{number}", piece, (f"part{number - 1}" if number > 1 else INPUT,))
        for number, piece in enumerate(pieces[:-1], 1)
    ]
    rest, classifier = _split_rest(pieces[-1], taps[-1])
    nodes.append(Node("rest", rest, (nodes[-1].name,)))
    classes = (answer.shape[1], *coarser)
    kept = {INPUT, *(node.name for node in nodes)}
    shapes = node_shapes(nodes, input_shape, dtype=example.dtype, kept=kept)
    read = {tap: shapes[node.name] for tap, node in zip(taps, nodes, strict=False)}
    last: nn.Module = classifier
    if coarser:
        (added,) = new_heads([None], {"the last stage": shapes["rest"]}, coarser)
        last = _WithCoarser(classifier, added.to(example))
    square = is_square(input_shape)
    made = [*(new.to(example) for new in new_heads(choices, read, classes, square=square)), last]
    check_heads(made, [shapes[node.name] for node in nodes], classes, dtype=example.dtype)
    if frozen:
        module.requires_grad_(False)
    return ChainNet(
        [[node] for node in nodes],
        [node.name for node in nodes],
        made,
        num_classes=classes,
        input_spec=input_spec,
    )


class _WithCoarser(nn.Module):
    """The module's own classifier for the fine level, beside heads for the coarser ones."""

    def __init__(self, own: nn.Module, coarser: nn.Module) -> None:
        super().__init__()
        self.own = own
        self.coarser = coarser

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.own(x), *self.coarser(x))


def _check_taps(module: nn.Module, taps: Sequence[str]) -> list[str]:
    names = [name for name, _ in module.named_modules() if name]
    if isinstance(taps, str) or not taps or not all(isinstance(tap, str) for tap in taps):
        raise ValueError("taps is a list of names of sub-modules, for example ['layer1', 'layer2']")
    if len(set(taps)) != len(taps):
        raise ValueError(f"taps {list(taps)}: name each sub-module once")
    for tap in taps:
        if tap not in names:
            raise ValueError(f"the module has no sub-module {tap!r}: {suggest(tap, names)}")
    return list(taps)


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


def _pieces(calls: list[Call], taps: list[str], kind: type[nn.Sequential]) -> list[nn.Sequential]:
    """What runs up to each tap, and the rest, with what happens between sub-modules as layers."""
    order = [call.name for call in calls]
    places = [order.index(tap) for tap in taps]
    if places != sorted(set(places)):
        raise ValueError(
            f"taps {taps}: name them in the order in which they run, {sorted(taps, key=order.index)}"
        )
    if places[-1] == len(calls) - 1:
        raise ValueError(
            f"{taps[-1]} is the module's last part, whose answer is the last stage: leave it out"
        )
    pieces = [kind()]
    for place, call in enumerate(calls):
        if place:
            pieces[-1].extend(between(call.read, calls[place - 1].gave) or [])
        pieces[-1].append(call.module)
        if place in places:
            pieces.append(kind())
    return pieces


def _split_rest(rest: nn.Sequential, last_tap: str) -> tuple[nn.Sequential, nn.Sequential]:
    """The last stage's block, and its head: the last layer with weights and what leads to it."""
    weighted = [place for place, part in enumerate(rest) if any(p.ndim > 1 for p in part.parameters())]
    if len(weighted) < 2:
        raise ValueError(
            f"after {last_tap!r} only the module's own classifier is left, so that the last stage would "
            "know no more than the one before: leave that tap out"
        )
    start = weighted[-2] + 1
    # What overwrites its input belongs to the block that made it, also behind an identity: a head only reads.
    for place in range(start, weighted[-1]):
        if _in_place(rest[place]):
            start = place + 1
        elif not isinstance(rest[place], nn.Identity):
            break
    return rest[:start], rest[start:]  # type: ignore[return-value]


def _in_place(part: nn.Module) -> bool:
    return any(getattr(module, "inplace", False) for module in part.modules())


def _check_owned(module: nn.Module, calls: list[Call]) -> None:
    """What no sub-module holds is used by the forward itself, and would be lost."""
    held = {id(tensor) for call in calls for tensor in (*call.module.parameters(), *call.module.buffers())}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if id(tensor) not in held:
            raise ValueError(
                f"{name} belongs to no sub-module that runs by itself, so the module's own forward uses it: "
                "move it and what is done with it into a sub-module"
            )


def _check_in_training(module: nn.Module, pieces: list[nn.Sequential], example: Tensor) -> None:
    """The same in training mode, where dropout by function would show. Buffers are left as they were."""
    before = [buffer.clone() for buffer in module.buffers()]
    answers = []
    module.train()
    try:
        for run in (module, nn.Sequential(*pieces)):
            with torch.random.fork_rng([example.device] if example.is_cuda else []):
                torch.default_generator.manual_seed(0)
                if example.is_cuda:
                    torch.cuda.manual_seed(0)
                answers.append(run(example))
            for buffer, value in zip(module.buffers(), before, strict=True):
                buffer.copy_(value)
    finally:
        module.eval()
    own, ours = answers
    if (
        not isinstance(own, Tensor)
        or own.shape != ours.shape
        or not torch.allclose(own, ours, rtol=1e-3, atol=1e-4)
    ):
        raise ValueError(
            "in training mode the module gives something else than its sub-modules run one after the other "
            "(dropout as a function, say, or further outputs): make that a sub-module, or wrap it with "
            "frozen=True"
        )


def _check_answer(pieces: list[nn.Sequential], example: Tensor, answer: Tensor) -> None:
    x = example
    for piece in pieces:
        x = piece(x)
    if x.shape != answer.shape or not torch.allclose(x, answer, rtol=1e-4, atol=1e-5):
        raise ValueError(
            "the sub-modules run one after the other give another answer than the module: it computes "
            "something between them; write an ExitNet of its blocks"
        )
