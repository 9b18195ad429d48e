"""Programs of single layers for the native engine, and the layers that a net consists of."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from anytimenet.export.native_files import program_of
from anytimenet.export.native_program import Code, Kind, Op, ProgramWriter, StageRows, Window
from anytimenet.export.stored import Stored, StoredWeights
from anytimenet.native.engine import Engine
from anytimenet.nets import create_net
from anytimenet.nets.registry import net_entry

OP_WORDS, TENSOR_WORDS, HEADER_WORDS = 32, 6, 16


@dataclass(frozen=True)
class Layer:
    """A convolution of one image, float32.

    Attributes:
        channels: read, and written.
        size: height and width of what is read.
        groups: of channels; 1 for a product, all channels for a depthwise convolution.
        window: height and width of it.
        stride: down and across.
        pads: top, left, bottom, right.
    """

    channels: tuple[int, int]
    size: tuple[int, int]
    groups: int
    window: int
    stride: int
    pads: tuple[int, int, int, int]

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of the result."""
        top, left, bottom, right = self.pads
        height, width = self.size
        return (
            (height + top + bottom - self.window) // self.stride + 1,
            (width + left + right - self.window) // self.stride + 1,
        )

    @property
    def kind(self) -> str:
        """What kernel it is for."""
        if self.window == 1 and self.stride == 1:
            return "product"
        if self.groups == self.channels[0]:
            return "depthwise"
        return "grouped" if self.groups > 1 else "stem"

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        height, width = self.out_size
        return self.channels[1] * self.channels[0] // self.groups * self.window**2 * height * width

    @property
    def numbers(self) -> int:
        """Numbers that must be read or written at least once."""
        weights = self.channels[1] * self.channels[0] // self.groups * self.window**2
        height, width = self.out_size
        return weights + self.channels[0] * self.size[0] * self.size[1] + self.channels[1] * height * width

    @property
    def name(self) -> str:
        """In words."""
        side = f"{self.size[0]}x{self.size[1]}"
        if self.kind == "product":
            return f"{self.channels[1]}x{self.channels[0]} on {side}"
        group = self.channels[0] // self.groups
        what = (
            f"{self.channels[1]} channels" if self.groups > 1 else f"{self.channels[0]} to {self.channels[1]}"
        )
        groups = f" in groups of {group}" if self.groups > 1 and group > 1 else ""
        return f"{what}{groups}, {self.window}x{self.window}, stride {self.stride}, on {side}"


def layers_of(name: str) -> list[Layer]:
    """The distinct convolutions of a registered net, in the order in which its program runs them."""
    net = create_net(name).eval()
    program = program_of(net, net_entry(name).input_shape, StoredWeights(net))
    header = struct.unpack_from(f"<{HEADER_WORDS}i", program)
    tensors, chunks, weights, ops = header[4:8]
    begin = 4 * (HEADER_WORDS + TENSOR_WORDS * tensors + 8 * chunks + 4 * weights)
    found: dict[Layer, None] = {}
    for number in range(ops):
        words = struct.unpack_from(f"<{OP_WORDS}i", program, begin + 4 * OP_WORDS * number)
        if words[0] != Code.CONV:
            continue
        at = 4 * (HEADER_WORDS + TENSOR_WORDS * words[2])
        _, _, height, width, *_ = struct.unpack_from(f"<{TENSOR_WORDS}i", program, at)
        top, left, bottom, right = words[14:18]
        layer = Layer(
            (words[4], words[9]), (height, width), words[18], words[10], words[12], (top, left, bottom, right)
        )
        found[layer] = None
    return list(found)


def work_of(layer: Layer, x: np.ndarray, weight: np.ndarray, instruction_set: str, repeats: int) -> Work:
    """The engine runs the layer `repeats` times a call; what it reads is copied into an image each time.

    Args:
        layer: the convolution.
        x: (C, H, W).
        weight: (C out, C in / groups, window, window).
        instruction_set: of the kernels.
        repeats: how often a call runs it.
    """
    writer = ProgramWriter(["weights"])
    entering = writer.view(writer.tensor(Kind.INPUT, *x.shape))
    out = writer.view(writer.tensor(Kind.KEPT, layer.channels[1], *layer.out_size))
    head_weight = np.zeros((1, layer.channels[1]), np.float32)
    own = writer.weight(Stored("weights", 0, weight.shape))
    last = writer.weight(Stored("weights", weight.nbytes, head_weight.shape))
    window = Window(layer.window, layer.window, layer.stride, layer.stride, *layer.pads)
    body = [Op(Code.CONV, out, entering, None, window, layer.groups, own, low=0.0) for _ in range(repeats)]
    pooled = writer.view(writer.tensor(Kind.SCRATCH, layer.channels[1], flat=True))
    output = writer.view(writer.tensor(Kind.OUTPUT, 1, flat=True))
    head = [Op(Code.MEAN, pooled, out), Op(Code.LINEAR, output, pooled, weight=last)]
    state = [(entering.tensor, entering.channels)]
    kept = (out.tensor, out.channels)
    writer.stages = [
        StageRows(state=state),
        StageRows(body, head, [kept], [output.tensor], answers=True),
    ]
    shard = weight.astype(np.float32).tobytes() + head_weight.tobytes()
    session = Engine(writer.to_bytes(), [shard], instruction_set=instruction_set).session()

    def run() -> None:
        session.begin(x)
        session.run(1)

    def result() -> np.ndarray:
        run()
        return session.state()[0].reshape(layer.channels[1], *layer.out_size)

    return Work(result, run)


@dataclass(frozen=True)
class Work:
    """A layer in some runtime.

    Attributes:
        result: runs it and returns (C, H, W).
        run: runs it.
    """

    result: Callable[[], np.ndarray]
    run: Callable[[], object]
