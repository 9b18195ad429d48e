"""What planners, exporters and engines read of a net."""

from __future__ import annotations

import pytest
import torch

from anytimenet.core.segments import InputSpec, TensorSpec

FORMATS = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
]


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_bytes_of_a_tensor_are_those_that_torch_takes(dtype):
    tensor = torch.empty((3, 5, 7), dtype=getattr(torch, dtype))
    assert TensorSpec("x", (3, 5, 7), dtype=dtype).nbytes == tensor.numel() * tensor.element_size()


def test_a_scalar_has_the_bytes_of_one_number():
    assert TensorSpec("runs", (), dtype="float64").nbytes == 8


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"continues": "t1"}, "continues and grows belong together"),
        ({"grows": 0}, "continues and grows belong together"),
        ({"continues": "t1", "grows": 3}, "has no axis 3"),
        ({"continues": "t1", "grows": -1}, "has no axis -1"),
        ({"dtype": "torch.float32"}, "'torch.float32' is no number format"),
        ({"dtype": True}, "True is no number format"),
    ],
)
def test_a_spec_that_says_nothing_clear_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        TensorSpec("u1", (4, 8, 8), **arguments)


IMAGES = InputSpec("images", channels=3, smallest=6, multiple_of=4)
TOKENS = InputSpec("tokens", channels=16, smallest=2)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (IMAGES, (1, 8, 8), "this net reads 3-channel images, got 1 channels; build it with in_channels=1"),
        (IMAGES, (3, 4, 8), "images of 4x8 are too small for this net's scales: at least 6x6 is needed"),
        (IMAGES, (3, 8, 10), "images of 8x10 do not fit this net: multiples of 4 are needed"),
        (InputSpec(fixed=(8, 9)), (3, 9, 8), "images of 9x8 do not fit this net: it reads 8x9 only"),
        (IMAGES, (8, 8), r"images have shape \(N, C, H, W\), not \(8, 8\)"),
        (TOKENS, (4, 8), "this net reads 16-channel tokens, got 8 channels"),
        (TOKENS, (1, 16), "1 tokens are too small for this net's scales: at least 2 is needed"),
        (TOKENS, (16,), r"tokens have shape \(N, T, D\), not \(16,\)"),
    ],
)
def test_what_a_net_cannot_read_is_refused_with_the_cure(spec, shape, message):
    with pytest.raises(ValueError, match=message):
        spec.check(shape)


@pytest.mark.parametrize("spec", [IMAGES, TOKENS, InputSpec(fixed=(8, 9)), InputSpec("tokens", fixed=(7,))])
def test_the_smallest_example_can_be_read_alone_and_in_a_batch(spec):
    spec.check(spec.shape_of(spec.smallest_shape))
    spec.check_batch((5, *spec.smallest_shape))
    with pytest.raises(ValueError, match="have shape"):
        spec.check_batch(spec.smallest_shape)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "sounds"}, "kind 'sounds' does not exist"),
        ({"smallest": 0}, "smallest must be"),
        ({"fixed": (8,)}, r"fixed \(8,\)"),
        ({"smallest": 9, "fixed": (8, 8)}, "too small"),
    ],
)
def test_an_input_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        InputSpec(**fields)
