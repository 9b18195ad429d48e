"""Heads by name run in ONNX Runtime as in PyTorch, a convolutional one on maps that 4 does not divide."""

from __future__ import annotations

import pytest
from torch import nn

from anytimenet import Bundle, ExitNet, Preprocessing
from anytimenet.export import export
from anytimenet.runtime import ExportedNet
from anytimenet.testing import check_backend

SHAPE = (1, 27, 27)


@pytest.mark.parametrize("head", ["linear", "conv", "mlp", "token"])
def test_exported_segments_are_the_nets_own(head, tmp_path):
    blocks = [nn.Sequential(nn.Conv2d(read, 6, 3, step, 1), nn.ReLU()) for read, step in ((1, 1), (6, 2))]
    net = ExitNet(None, blocks, (1, 2), head, num_classes=4, input_shape=SHAPE)

    def backend(net):
        look = Preprocessing(27, 27, 1, (0.5,), (0.5,))
        bundle = Bundle.create(net, class_names=[list("abcd")], preprocessing=look)
        return ExportedNet.load(export(bundle, tmp_path / "folder"), backend="onnxruntime").backend

    check_backend(backend, net, SHAPE)
