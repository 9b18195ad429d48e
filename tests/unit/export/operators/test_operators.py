"""Each operator as ONNX gives what PyTorch gives; what is not written here is left to its exporter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.segments import TensorSpec
from anytimenet.export.lowering import lower
from anytimenet.export.tracing import Traced
from anytimenet.export.unknown import UnknownOperatorError

CHANNELS, SIDE = 6, 4
WEIGHT, BIAS = torch.linspace(0.5, 1.5, CHANNELS), torch.linspace(-1, 1, CHANNELS)
KERNEL = torch.linspace(-1, 1, 2 * CHANNELS * 9).view(2, CHANNELS, 3, 3)
PLACES = torch.tensor([[3, 0], [1, 1]])

# Of images (N, 6, 4, 4).
OF_IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "hard sigmoid": F.hardsigmoid,
    "relu6": lambda x: F.relu6(9 * x),
    "relu6 in place": lambda x: F.relu6(9 * x, inplace=True),
    "more zeros at the end": lambda x: F.conv2d(F.pad(x, (0, 1, 1, 2)), KERNEL, stride=2),
    "zeros around zeros": lambda x: F.conv2d(F.pad(x, (0, 1, 2, 0)), KERNEL, padding=(1, 2), groups=1),
    "less of an image": lambda x: F.conv2d(F.pad(x, (-1, 1, 0, 0)), KERNEL, padding=1),
    "what is padded is read twice": lambda x: (
        lambda y: F.conv2d(y, KERNEL).sum(1) + y.sum(1)[:, 1:-1, 1:-1]
    )(F.pad(x, (1, 2, 1, 2))),
    "gelu": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "softmax": lambda x: x.softmax(-2),
    "group norm": lambda x: F.group_norm(x, 3, WEIGHT, BIAS, 1e-4),
    "group norm alone": lambda x: F.group_norm(x, 2),
    "layer norm": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (CHANNELS,), WEIGHT, BIAS, 1e-3),
    "layer norm of two": lambda x: F.layer_norm(x, (SIDE, SIDE)),
    "pool to half": lambda x: F.adaptive_avg_pool2d(x, 2),
    "pool to the same": lambda x: F.adaptive_avg_pool2d(x, (SIDE, SIDE)),
    "roll": lambda x: x.roll((1, -3), (2, 3)),
    "roll by nothing": lambda x: x.roll((SIDE, 0), (2, 3)),
    "every second": lambda x: x[:, :, 0::2, 1::2],
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"),
    "chunk": lambda x: torch.cat(x.chunk(4, 1)[::-1], 1),
    "stack": lambda x: torch.stack([x, x + 1], 2),
    "unbind": lambda x: x.unbind(1)[4] - x.unbind(2)[0].mean(1, keepdim=True),
    "index": lambda x: x[:, PLACES],
    "windows": lambda x: x.view(-1, CHANNELS, 2, 2, 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, CHANNELS),
    "unflatten": lambda x: x.unflatten(1, (2, 3)),
    "swapaxes": lambda x: x.swapaxes(1, -1),
    "reshape as": lambda x: x.flatten(2).reshape_as(x),
    "root": lambda x: x.abs().sqrt(),
    "matmul": lambda x: x @ x.transpose(-2, -1),
    "attention": lambda x: F.scaled_dot_product_attention(x, x + 1, x * 2),
    "attention with a mask": lambda x: F.scaled_dot_product_attention(
        x, x, x, attn_mask=torch.arange(16.0).view(4, 4), scale=0.3
    ),
    "class token": lambda x: torch.cat([WEIGHT.view(1, 1, -1).expand(x.shape[0], 3, -1), x[:, :, 0].mT], 1),
    "a mask that is computed": lambda x: x + window_mask(x),
}


def window_mask(x: Tensor) -> Tensor:
    """As torchvision's Swin computes the mask of its windows: in place, of nothing that the image says."""
    mask = x.new_zeros((SIDE, SIDE))
    for number, rows in enumerate((slice(0, 2), slice(2, 4))):
        mask[rows, 1:] = number
    return mask.masked_fill(mask != 0, -100.0)


@pytest.fixture(scope="module")
def both() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What PyTorch gives for three images, and what ONNX Runtime gives, in one graph of all operators."""
    x = torch.randn(3, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    names = [f"output{number}" for number in range(len(OF_IMAGES))]
    model = lower(traced(All(list(OF_IMAGES.values())), names), {})
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(names, {"x": x.numpy()})
    truth = [function(x).numpy() for function in OF_IMAGES.values()]
    return dict(zip(OF_IMAGES, zip(truth, found, strict=True), strict=True))


@pytest.mark.parametrize("name", OF_IMAGES)
def test_an_operator_gives_what_pytorch_gives(both, name):
    truth, found = both[name]
    assert found.shape == truth.shape
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        lambda x: x[:, PLACES, PLACES],
        lambda x: x.roll(1),
        lambda x: F.interpolate(x, size=6, mode="nearest"),
    ],
    ids=["causal attention", "two indices", "rolling all", "nearest of no multiple"],
)
def test_what_is_not_written_here_is_left_to_pytorchs_exporter(function):
    with pytest.raises(UnknownOperatorError):
        lower(traced(All([function]), ["output0"]), {})


def test_zeros_around_an_image_belong_to_the_convolution_that_alone_reads_it():
    padded = lower(traced(All([OF_IMAGES["more zeros at the end"]]), ["output0"]), {})
    assert [node.op_type for node in padded.graph.node] == ["Conv"]
    twice = lower(traced(All([OF_IMAGES["what is padded is read twice"]]), ["output0"]), {})
    assert "Pad" in [node.op_type for node in twice.graph.node]


class All(nn.Module):
    """Functions side by side."""

    def __init__(self, functions: list[Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(x) for function in self.functions)


def traced(module: nn.Module, outputs: list[str]) -> Traced:
    example = torch.zeros(2, CHANNELS, SIDE, SIDE)
    batch: Any = ({0: torch.export.Dim("batch")},)
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=batch, strict=False)
        shapes = [tuple(each.shape[1:]) for each in module(example)]
    given = (TensorSpec("x", tuple(example.shape[1:])),)
    return Traced(
        "all", program, given, tuple(TensorSpec(n, s) for n, s in zip(outputs, shapes, strict=True))
    )
