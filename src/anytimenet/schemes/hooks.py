"""The four questions that every training scheme answers, as interfaces.

Each hook has two faces: a frozen dataclass, which is configuration, and the module that its `build` makes
for one net, whose running averages, teachers and generators belong to the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.schemes.teacher import Teacher

Group = Sequence[tuple[int, Output]]
"""Some stages with their outputs, as `AnytimeNet.passes` yields them."""

GroupLoss = Callable[[Group], list[Tensor]]
"""The weighted losses of a group, one scalar per stage."""

Criterion = Callable[[Output, Any], Tensor]
"""The task's loss of one output against the labels of a batch."""


Mean = Callable[[Tensor], Tensor]
"""The mean of a tensor over all processes that train together; the tensor itself where there is one."""


Order = Literal["drawn", "largest_first", "descending"]
"""In which order the stages of a step run."""


Average = Callable[[Iterable[Tensor]], None]
"""Replaces tensors by their means over all processes that train together, in place."""


ADDED_LATER: Mapping[str, bool] = {"added_later": True}
"""Metadata of a field that a member got after runs with it had begun; see `scheme_to_dict`."""


@dataclass
class Lesson:
    """What one step teaches.

    Attributes:
        labels: of the batch.
        criterion: the task's loss of one output against labels.
        outputs: detached outputs of the stages that ran in this step so far, those of the group at hand
            included.
        taught: outputs of a teacher beside the net, by stage; empty without one.
    """

    labels: Any
    criterion: Criterion
    outputs: dict[int, Output] = field(default_factory=dict)
    taught: Mapping[int, Output] = field(default_factory=dict)


class Sampling(nn.Module):
    """Which stages run in a step, and in which order.

    Processes that train together draw from equal generators, so that all run the same stages.

    Attributes:
        always: stages that run in every step.
        possible: stages that may run in some step.
        every_stage: whether each step runs all stages, so that no parameter is left without a gradient.
    """

    always: Sequence[int] = ()
    possible: Sequence[int] = ()
    every_stage: bool = False

    def draw(self) -> Sequence[int]:
        """The stages of the next step."""
        raise NotImplementedError


class Targets(nn.Module):
    """What each stage learns.

    Attributes:
        order: in which order the stages of a step must run: "drawn", as they come; "largest_first", the
            largest teaches the others and runs before them; "descending", each learns from larger ones.
        needs: stages that must run in every step, because others learn from them or they alone see labels.
        uses_given_teacher: whether `RunFacts.teacher` is put to use.
        every_level: whether the loss of a stage reads all label levels of its output, so that no parameter of
            a head is left without a gradient.
    """

    order: Order = "drawn"
    needs: Sequence[int] = ()
    uses_given_teacher: bool = False
    every_level: bool = True

    def learns_fine_labels(self, stage: int) -> bool:
        """Whether `stage` learns the finest label level, so that its accuracy there says anything."""
        return True

    def teach(self, x: Tensor, stages: Sequence[int]) -> Mapping[int, Output]:
        """Outputs of a teacher beside the net that `stages` learn from, by stage and without a graph.

        Called once at the beginning of each step, in training mode. Nothing by default.
        """
        return {}

    def losses(self, group: Group, lesson: Lesson) -> list[Tensor]:
        """The unweighted loss of each stage of a group."""
        raise NotImplementedError


class Weighting(nn.Module):
    """How much each stage counts."""

    def weights(self, stages: Sequence[int]) -> Mapping[int, float]:
        """The weight of each stage in the next step; called once a step."""
        raise NotImplementedError

    def observe(self, losses: Mapping[int, Tensor]) -> None:
        """Called after the step with the detached, unweighted losses, means over all processes."""


class GradientRule(nn.Module):
    """How the gradients of the stages combine; owns forward and backward.

    Two attributes say how the rule works where several processes each see a part of the batch.

    Attributes:
        one_backward: the rule calls `net` or its `passes` once, and backward once on a loss of all that came
            out where that is one group. Gradients may then be exchanged while backward still runs.
        linear: what the rule adds to `.grad` is linear in the gradients of the stages, so that the mean over
            the processes can be taken afterwards. A rule that sets it to False (a projection, say) calls
            `self.average` on each stage's gradients before it combines them, and nothing is exchanged later.
        average: replaces tensors by their means over all processes, in place; does nothing with one process.
    """

    one_backward: bool = False
    linear: bool = True
    average: Average = staticmethod(lambda tensors: None)

    def forward(self, net: AnytimeNet, x: Tensor, stages: Sequence[int], loss: GroupLoss) -> None:
        """Adds the combined gradient to `.grad` of the parameters of `net`.

        `loss` is called with every stage of `stages` exactly once, in one group or several.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class RunFacts:
    """What hooks ask when they are built; each says what it misses.

    Attributes:
        seed: of all that is drawn at random; equal in all processes that train together.
        stage_macs: gives the multiply-adds of each stage's sub-network, for weights that follow the cost.
        teacher: a trained net that the stages learn from; it is not changed.
    """

    seed: int = 0
    stage_macs: Callable[[], Sequence[float]] | None = None
    teacher: AnytimeNet | Teacher | None = None


class HookConfig(Protocol):
    """Configuration of one hook: a frozen dataclass."""

    def build(self, net: AnytimeNet, facts: RunFacts) -> Any:
        """The hook's module for `net`.

        Raises:
            ValueError: if the net's architecture does not allow it, or a fact is missing.
        """
