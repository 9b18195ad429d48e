"""Every family's exported segments keep what `Backend` promises: in ONNX Runtime, and in OpenVINO.

One export of each net serves both engines: all steps and jumps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anytimenet import AnytimeNet, Bundle, Preprocessing, create_net
from anytimenet.export import export
from anytimenet.nets import list_nets
from anytimenet.runtime import Backend, ExportedNet
from anytimenet.testing import check_backend

SHAPE = (1, 8, 8)
MOST_STAGES = 3


def exported(name: str, folder: Path) -> Callable[[AnytimeNet], Path]:
    """Exports the net that it is given once, and gives the folder."""

    def once(net: AnytimeNet) -> Path:
        if not folder.exists():
            pairs = [(start, stop) for stop in range(1, net.num_stages + 1) for start in range(stop)]
            classes = [[f"class {i}" for i in range(net.num_classes[0])]]
            look = Preprocessing(8, 8, 1, (0.5,), (0.5,))
            bundle = Bundle.create(net, class_names=classes, preprocessing=look)
            export(bundle, folder, segments=pairs)
        return folder

    return once


@pytest.mark.slow
@pytest.mark.parametrize("name", list_nets("*_tiny"))
def test_both_engines_run_every_segment_as_eager_pytorch_does(name, tmp_path):
    folder_of = exported(name, tmp_path / "folder")

    def in_engine(engine: str) -> Callable[[AnytimeNet], Backend]:
        return lambda net: ExportedNet.load(folder_of(net), backend=engine).backend

    net = create_net(name, num_classes=4, in_channels=1)
    if net.num_stages > MOST_STAGES:  # more are more of the same, and each pair of them is exported
        net = net.keep((1, (1 + net.num_stages) // 2, net.num_stages))
    for engine in ("onnxruntime", "openvino"):
        check_backend(in_engine(engine), net, SHAPE)
