"""The net that is checked: a float64 copy with random weights, and what several checks need of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from anytimenet.costs import Rule
from anytimenet.layers.snapshots import copied
from anytimenet.nets.contract import AnytimeNet, Output, Snapshot, State
from anytimenet.testing.compare import unchanged

BATCH = 3
GAIN = 0.5
DRAWS = 8


class NetUnderTest:
    """A deep copy of a net on the CPU in float64 eval mode, every floating tensor of it redrawn.

    Zero-filled channels would hide what depends on what, so vectors and scalars (biases, scales) are
    uniform in 0.5 .. 1.5, matrices and filters normal with variance 0.25 / fan-in, so that a few values
    behind a ReLU are zero and hardly a channel is, and buffers are moved by random positive amounts,
    so that a variance stays positive. Statistics that a net wants to have estimated count as that.

    Args:
        net: the net; it is not changed.
        input_shape: (C, H, W) of one image.
        seed: of the weights and images.
        rules: costs of operators that the counter does not know.

    Attributes:
        net: the copy.
        x: three images.
        other_x: another image, for calls that must not disturb each other.

    Raises:
        TypeError: for anything but an `AnytimeNet`.
        ValueError: for a net without values (on the meta device), or a shape that is not (C, H, W).
    """

    def __init__(
        self,
        net: AnytimeNet,
        input_shape: Sequence[int],
        *,
        seed: int = 0,
        rules: Mapping[str, Rule] | None = None,
    ) -> None:
        if not isinstance(net, AnytimeNet):
            raise TypeError(f"a net to check is a subclass of AnytimeNet, not a {type(net).__name__}")
        if any(tensor.is_meta for tensor in net.state_dict().values()):
            raise ValueError("a net on the meta device has no values to check: build it on the CPU")
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)
        self.input_shape = net.input_spec.shape_of(input_shape)
        self.rules = rules
        self.net = copy.deepcopy(net).to("cpu", torch.float64).eval().requires_grad_(True)
        redraw(self.net, self.generator)
        count_as_estimated(self.net)
        self.num_stages = self.net.num_stages
        self.every_stage = tuple(range(1, self.num_stages + 1))
        self.x = self.images(BATCH)
        self.other_x = self.images(1)
        self._segments: dict[tuple[int, int, bool], nn.Module] = {}
        self._reads: dict[tuple[int, int], frozenset[str]] = {}

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The net's state_dict; its tensors are the net's own memory."""
        return self.net.state_dict()

    @cached_property
    def parameter_names(self) -> frozenset[str]:
        """Those names of the state_dict that are parameters."""
        return frozenset(name for name, _ in self.net.named_parameters(remove_duplicate=False))

    def draws(self) -> Iterator[NetUnderTest]:
        """This net, then up to seven more draws of its weights and images.

        For proofs that something has an effect: one draw may hide it behind a channel that is all zero.
        """
        yield self
        for draw in range(1, DRAWS):
            yield NetUnderTest(self.net, self.input_shape, seed=self.seed + draw, rules=self.rules)

    def images(self, count: int) -> Tensor:
        """Random images `(count, C, H, W)`."""
        return torch.randn(count, *self.input_shape, generator=self.generator, dtype=torch.float64)

    def copy_of_net(self) -> AnytimeNet:
        """Another copy, for checks that change it."""
        return copied(self.net)

    def net_on_meta(self) -> AnytimeNet:
        """The same net without values."""
        return self.copy_of_net().to("meta")

    @cached_property
    def snapshot(self) -> Snapshot:
        """What the segments are taken from."""
        return self.net.snapshot()

    @cached_property
    @torch.no_grad()
    def truth(self) -> list[Output]:
        """The outputs of `forward` on `x`, stage by stage: what everything else must equal."""
        outputs: list[Output] = self.net(self.x)
        return outputs

    @cached_property
    def states(self) -> list[State]:
        """The state of `x` at stages 0..K, reached step by step."""
        return self.states_of(self.x)

    @torch.no_grad()
    def states_of(self, x: Tensor) -> list[State]:
        """The state of other images at stages 0..K, reached step by step."""
        states: list[State] = [(x,)]
        for stage in self.every_stage:
            states.append(self.segment(stage - 1, stage)(copy_of_state(states[-1]))[0])
        return states

    def segment(self, start: int, stop: int, *, last: bool = False) -> nn.Module:
        """The segment of one snapshot of the net, as it is deployed; built once."""
        key = (start, stop, last)
        if key not in self._segments:
            self._segments[key] = self.snapshot.segment(start, stop, last=last)
        return self._segments[key]

    def every_segment(self) -> list[tuple[int, int]]:
        """All pairs (a, b) with 0 <= a < b <= K."""
        return [(a, b) for b in self.every_stage for a in range(b)]

    def state_names(self, stage: int) -> list[str]:
        """Names of the state's tensors, in order."""
        return [spec.name for spec in self.net.state_spec(stage, self.input_shape)]

    @torch.no_grad()
    def reads(self, start: int, stop: int) -> frozenset[str]:
        """Names of the state tensors at `start` on which the output of segment (start, stop) depends.

        A tensor that is not of floating point counts as read, since it cannot be varied freely.
        """
        if (start, stop) not in self._reads:
            segment = self.segment(start, stop, last=True)
            state = self.states[start]
            before = segment(state)
            found = []
            for i, name in enumerate(self.state_names(start)):
                tensor = state[i]
                if tensor.is_floating_point():
                    moved = tensor + 0.5 + torch.rand(tensor.shape, generator=self.generator).to(tensor)
                    changed = (*state[:i], moved, *state[i + 1 :])
                    if unchanged(segment(changed), before):
                        continue
                found.append(name)
            self._reads[start, stop] = frozenset(found)
        return self._reads[start, stop]


def copy_of_state(state: State) -> State:
    """The same state in other memory, so that a segment that works in place spoils nothing."""
    return tuple(tensor.clone() for tensor in state)


@torch.no_grad()
def redraw(net: nn.Module, generator: torch.Generator) -> None:
    """Draws every floating tensor of `net` anew, as `NetUnderTest` describes."""
    parameters = {name for name, _ in net.named_parameters(remove_duplicate=False)}
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        tensor.copy_(another_value(tensor, name in parameters, generator))


@torch.no_grad()
def count_as_estimated(net: AnytimeNet) -> None:
    """Lets the redrawn statistics pass for estimated ones, in a net that refuses to predict without."""
    if net.stages_without_statistics():
        for name, buffer in net.named_buffers():
            if name.endswith("num_batches_tracked"):
                buffer.clamp_(min=1)


def another_value(tensor: Tensor, is_parameter: bool, generator: torch.Generator) -> Tensor:
    """A value to put in the place of `tensor`; integers are left as they are."""
    if not tensor.is_floating_point():
        return tensor

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)

    if not is_parameter:
        return tensor * uniform(0.5, 1.5) + uniform(0.1, 0.5)
    if tensor.dim() < 2:
        return uniform(0.5, 1.5)
    fan_in = max(tensor.numel() // max(tensor.shape[0], 1), 1)
    value: Tensor = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) * GAIN / fan_in**0.5
    return value
