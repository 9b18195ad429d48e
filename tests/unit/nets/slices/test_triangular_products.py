"""Wide triangular layers run as products on prefixes; they equal the dense convolution with zeros."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from anytimenet.nets.slices import convs as sliced_convs
from anytimenet.nets.slices.convs import TriangularConv2d


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_products_equal_the_dense_convolution_and_its_gradients(monkeypatch, slices):
    monkeypatch.setattr(sliced_convs, "_WIDE", 1)
    torch.manual_seed(0)
    widths, outs = (2, 3, 4), (5, 1, 2)
    conv = TriangularConv2d(widths, outs).double()
    conv.init_weights("msra")
    x = torch.randn(2, sum(widths[:slices]), 4, 3, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    assert sliced_convs._is_worth_products(x, conv.rows[0])

    dense = torch.zeros(sum(outs[:slices]), x.shape[1], 1, 1, dtype=torch.float64)
    start = 0
    for row in list(conv.rows)[:slices]:
        dense[start : start + len(row), : row.shape[1]] = row.detach()
        start += len(row)
    dense.requires_grad_()
    ours, truth = conv(x, slices), F.conv2d(x, dense)
    torch.testing.assert_close(ours, truth)
    assert ours.is_contiguous(memory_format=torch.channels_last)

    cotangent = torch.randn_like(truth)
    (ours_x, *ours_rows) = torch.autograd.grad(ours, [x, *list(conv.rows)[:slices]], cotangent)
    truth_x, truth_weight = torch.autograd.grad(truth, [x, dense], cotangent)
    torch.testing.assert_close(ours_x, truth_x)
    start = 0
    for row in ours_rows:
        torch.testing.assert_close(row, truth_weight[start : start + len(row), : row.shape[1]])
        start += len(row)


@pytest.mark.parametrize("change", ["narrow", "layout", "dtype", "autocast", "no_grad"])
def test_everything_else_takes_the_dense_convolution(monkeypatch, change):
    monkeypatch.setattr(sliced_convs, "_WIDE", 9 if change == "narrow" else 1)
    conv = TriangularConv2d((4, 4), (4, 4))
    x = torch.zeros(1, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    x = x.contiguous() if change == "layout" else x
    x = x.bfloat16() if change == "dtype" else x
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=change == "autocast"),
        torch.set_grad_enabled(change != "no_grad"),
    ):
        assert not sliced_convs._is_worth_products(x, conv.rows[0])
