"""What planners, exporters and engines read of a net."""

from __future__ import annotations

import pytest
import torch

from anytimenet.core.segments import TensorSpec

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
