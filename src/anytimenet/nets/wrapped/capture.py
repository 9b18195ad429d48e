"""What a module computes, as a flat graph of operators with marks where its sub-modules begin and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from anytimenet.nets.wrapped.marks import MARK, Call, marking


@dataclass(frozen=True)
class Captured:
    """A module's work in eval mode, for any number of examples.

    Attributes:
        nodes: operators and marks in the order in which they run.
        calls: of sub-modules, by number.
        given: by placeholder the path of a parameter or buffer of the module; `None` for the images.
        constants: tensors that the module's code holds, by placeholder.
        marks: the mark at a place such as "3.out.0", where it is needed for the answer.
        answer: the node of the module's answer.
        dtype: number format of the images.
    """

    nodes: tuple[fx.Node, ...]
    calls: tuple[Call, ...]
    given: dict[str, str | None]
    constants: dict[str, Tensor]
    marks: dict[str, fx.Node]
    answer: fx.Node
    dtype: torch.dtype

    @property
    def batch(self) -> Any:
        """The symbol for the number of examples."""
        images = next(node for node in self.nodes if self.given.get(node.name, "") is None)
        return symbol(images.meta["val"].shape[0])


def capture(module: nn.Module, example: Tensor, watched: Collection[str]) -> Captured:
    """Follows the module's forward, in eval mode, from a batch like `example`; nothing is computed.

    Args:
        module: any module that returns logits.
        example: with two examples or more.
        watched: names of the sub-modules whose calls are marked.

    Raises:
        ValueError: if it cannot be followed: its forward looks at values, or holds for one batch size alone.
    """
    try:
        with in_eval_mode(module), torch.no_grad(), marking(module, watched) as calls:
            program = torch.export.export(
                _FirstAnswer(module), (example,), dynamic_shapes=({0: Dim("batch")},), strict=False
            )
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"torch.export cannot follow the module's forward ({type(error).__name__}: {reason}): what it "
            "computes must not depend on values, and work for any number of images"
        ) from error
    return _read(program, tuple(calls), example.dtype)


class _FirstAnswer(nn.Module):
    """A module that returns its logits alone."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return logits_of(self.module(x))


def logits_of(answer: Any) -> Tensor:
    """The logits in what a module returns: a tensor, or the entry `logits` of a structure.

    Raises:
        ValueError: if there are none of shape (N, classes).
    """
    found = answer if isinstance(answer, Tensor) else getattr(answer, "logits", None)
    if found is None and isinstance(answer, dict):
        found = answer.get("logits")
    if not isinstance(found, Tensor) or found.ndim != 2:
        raise ValueError(
            "the module must return logits of shape (N, classes), alone or as `logits` of a structure: wrap "
            "the part of it that does"
        )
    return found


def symbol(size: Any) -> Any:
    """What tells sizes apart that depend on the batch; a plain number for one that does not."""
    return size.node.expr if isinstance(size, torch.SymInt) else size


def _read(program: ExportedProgram, calls: tuple[Call, ...], dtype: torch.dtype) -> Captured:
    given: dict[str, str | None] = {}
    constants: dict[str, Tensor] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            given[spec.arg.name] = None
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            given[spec.arg.name] = str(spec.target).removeprefix("module.")
        else:
            constants[spec.arg.name] = program.constants[str(spec.target)]
    nodes = tuple(program.graph.nodes)
    marks = {str(node.args[1]): node for node in nodes if node.target is MARK}
    (answer,) = nodes[-1].args[0]
    assert isinstance(answer, fx.Node)
    return Captured(nodes, calls, given, constants, marks, answer, dtype)


def folds(captured: Captured) -> list[tuple[str, str]]:
    """Names of a convolution and of the BatchNorm that alone reads what it gives, wherever both run once.

    A name that is no layer of such a kind is left to `layers.folding`, which passes it over.
    """
    convs = [(_layer(node), node) for node in captured.nodes if _is(node, "aten.conv2d")]
    norms = [(_layer(node), node) for node in captured.nodes if _is(node, "aten.batch_norm")]
    runs = Counter(path for path, _ in (*convs, *norms))
    of = {node: path for path, node in convs}
    found = []
    for path, node in norms:
        source: Any = node.args[0]
        while source.target is MARK and len(source.users) == 1:
            source = source.args[0]
        if source in of and len(source.users) == 1 and runs[path] == runs[of[source]] == 1:
            found.append((of[source], path))
    return found


def _is(node: fx.Node, operator: str) -> bool:
    return str(getattr(node.target, "overloadpacket", "")) == operator


def _layer(node: fx.Node) -> str:
    """The innermost sub-module in whose forward an operator ran."""
    return around(node)[-1]


def around(node: fx.Node) -> list[str]:
    """Names of the sub-modules inside whose forwards an operator ran, the whole module first."""
    stack = node.meta.get("nn_module_stack", {}).values()
    return ["", *(str(path).removeprefix("module").removeprefix(".") for path, _ in stack)]


@contextmanager
def in_eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Inside, the modules are in eval mode; afterwards each part is as it was."""
    before = {part: part.training for module in modules for part in module.modules()}
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, mode in before.items():
            part.training = mode
