"""Recorded steps as operators of the native engine.

A tensor of the state that grows lies in one memory from the first stage on, and what a step appends to it is
computed where it belongs. BatchNorm, ReLU and the addition of a residual are done by the convolution whose
result they alone read; prefixes and joined rows of channels are places in memory, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from torch.fx import Node

from anytimenet.core.segments import SegmentSpec, TensorSpec
from anytimenet.export.native_layers import add, affine, conv, linear, mean, pool
from anytimenet.export.native_nodes import (
    ADDS,
    ASSERTION,
    CAT,
    CLAMPS,
    CONV,
    MEANS,
    NORM,
    PAD,
    RELUS,
    is_view,
    name_of,
    pooled_by_heads,
    source_of,
    with_ancestors,
)
from anytimenet.export.native_places import Places
from anytimenet.export.native_program import (
    Kind,
    ProgramWriter,
    View,
)
from anytimenet.export.native_step import StepWriter, copy_of
from anytimenet.export.native_views import cat, pad, renamed, zeros
from anytimenet.export.recording import Recorded
from anytimenet.export.stored import Piece
from anytimenet.export.unknown import UnknownOperatorError

_LOWERED: Mapping[str, Callable[[StepWriter, Node], None]] = {
    CONV: conv,
    "linear.default": linear,
    **dict.fromkeys(MEANS, mean),
    **dict.fromkeys((NORM, *RELUS, *CLAMPS), affine),
    **dict.fromkeys(ADDS, add),
    **dict.fromkeys(("avg_pool2d.default", "max_pool2d.default"), pool),
    CAT: cat,
    **dict.fromkeys((PAD, "constant_pad_nd.default"), pad),
    "zeros_like.default": zeros,
}


class StepLowering:
    """The operators of one step, which `program` gets.

    Args:
        program: with the stages before.
        recorded: the step.
        spec: of it.
        pieces: what each parameter and buffer is made of, by name.
        state: where the tensors of the state before lie, by name.
        last: whether nothing can follow.

    Attributes:
        body: what later stages need, or, of the last one, what lies before the pooling of the head.
        head: the rest.
        outputs: the tensors of the logits, one a label level.
        state: where the tensors of the state behind the step lie, by name.

    Raises:
        UnknownOperatorError: for an operator, or a use of one, that the engine does not have.
    """

    def __init__(
        self,
        program: ProgramWriter,
        recorded: Recorded,
        spec: SegmentSpec,
        pieces: Mapping[str, Piece],
        state: Mapping[str, View],
        *,
        last: bool,
    ) -> None:
        self._program = program
        self._nodes = recorded.nodes
        parameters = recorded.parameters
        self._inputs = recorded.inputs
        self._before = dict(state)
        given = list(cast(Sequence[Node], self._nodes[-1].args[0]))
        changes = given[: len(spec.changes)]
        places = Places(program, self._inputs, self._before)
        self.state = places.plan_state(spec, changes)
        self.outputs = [program.tensor(Kind.OUTPUT, level.shape[0], flat=True) for level in spec.outputs]
        for node, output in zip(given[len(changes) :], self.outputs, strict=True):
            places.homes.setdefault(source_of(node), program.view(output))
        body_nodes = with_ancestors(pooled_by_heads(self._nodes) if last else changes)
        places.plan_joins(self._nodes, body_nodes)
        self._step = StepWriter(program, places, pieces, parameters, body_nodes)
        self.body, self.head = self._step.body, self._step.head
        self._lower()
        for change, node in zip(spec.changes, changes, strict=True):
            self._settle(self.state[change.name], change, spec, node)
        for node, output in zip(given[len(changes) :], self.outputs, strict=True):
            if self._step.values[node] != program.view(output):
                raise UnknownOperatorError("an output that no linear layer gives")
        self._keep_what_heads_read()

    def _settle(self, whole: View, change: TensorSpec, spec: SegmentSpec, node: Node) -> None:
        """Copies to the state what does not lie there."""
        start = 0
        if change.continues is not None:
            old = self._before[change.continues]
            start = old.channels
            if old.tensor != whole.tensor:
                self.body.append(copy_of(old, whole.part(0, start)))
        here, value = whole.part(start, whole.channels), self._step.values[node]
        if value != here:
            self.body.append(copy_of(value, here))

    def _keep_what_heads_read(self) -> None:
        """What the body writes and the head reads must outlive the body."""
        written = {op.out.tensor for op in self.body}
        for op in self.head:
            for view in (op.read, op.other):
                if view is not None and view.tensor in written:
                    row = self._program.tensors[view.tensor]
                    row.kind = Kind.KEPT if row.kind == Kind.SCRATCH else row.kind

    def _lower(self) -> None:
        for node in self._nodes:
            if node.op == "placeholder":
                if node.name in self._inputs:
                    self._step.values[node] = self._before[self._inputs[node.name]]
            elif node.op == "call_function":
                self._call(node)
            elif node.op != "output":
                raise UnknownOperatorError(f"{node.op} {node.target}")

    def _call(self, node: Node) -> None:
        name = name_of(node)
        if node in self._step.values or name == ASSERTION:  # the operator before has done it
            return
        lower = _LOWERED.get(name)
        if lower is not None:
            lower(self._step, node)
        else:
            self._step.values[node] = renamed(self._step, node, name)
        self._changed_in_place(node, name)

    def _changed_in_place(self, node: Node, name: str) -> None:
        """Whoever reads the changed tensor from now on reads what it was changed to."""
        if not name.partition(".")[0].endswith("_"):
            return
        changed = cast(Node, node.args[0])
        if len(changed.users) == 1:
            return
        if changed.op == "placeholder" or is_view(changed) or any(is_view(user) for user in changed.users):
            raise UnknownOperatorError(f"{name} of a view")
        self._step.values[changed] = self._step.values[node]
