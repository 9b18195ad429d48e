"""Pooling to a grid, in ONNX nodes: PyTorch's adaptive pooling, whether or not the grid divides the map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet.core.segments import TensorSpec
from anytimenet.export.adaptive_pooling import windows_of, write_adaptive
from anytimenet.export.graph import Graph

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra runtime)")


def run(x: np.ndarray, grid: tuple[int, int], *, largest: bool) -> tuple[np.ndarray, int]:
    """The pooled maps, and the number of nodes."""
    graph = Graph()
    operator, reduction = ("MaxPool", "ReduceMax") if largest else ("AveragePool", "ReduceMean")
    y = write_adaptive(graph, "x", x.shape[2:], grid, operator=operator, reduction=reduction)
    given_, made = (
        TensorSpec(name, (x.shape[1], *sides), "float32", None, None)
        for name, sides in (("x", x.shape[2:]), ("y", grid))
    )
    model = graph.model("pooling", [given_], {"y": y}, [made])
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0], len(model.graph.node)


@given(height=st.integers(1, 15), width=st.integers(1, 15), rows=st.integers(1, 5), columns=st.integers(1, 5))
@examples(20)
def test_it_is_pytorchs_adaptive_pooling(height, width, rows, columns):
    grid = (min(rows, height), min(columns, width))
    x = np.random.default_rng(height * width).normal(size=(2, 3, height, width)).astype(np.float32)
    for largest, wanted in ((True, F.adaptive_max_pool2d), (False, F.adaptive_avg_pool2d)):
        found, _ = run(x, grid, largest=largest)
        np.testing.assert_allclose(found, wanted(torch.from_numpy(x), grid).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("side", "nodes"), [(8, 1), (13, 1), (6, 18)])
def test_windows_of_one_size_at_one_distance_are_one_node(side, nodes):
    assert run(np.zeros((1, 2, side, side), np.float32), (4, 4), largest=True)[1] == nodes


def test_windows_cover_the_side():
    assert windows_of(13, 4) == [(0, 4), (3, 7), (6, 10), (9, 13)]
