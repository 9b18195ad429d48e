"""All stages in one file: the same answers, and a warning of what it costs."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.cli.main import run
from anytimenet.core.errors import BundleError
from anytimenet.export import export_single_file
from anytimenet.testing.net_under_test import redraw


def test_one_file_answers_with_every_stage_and_warns_that_it_computes_all(tmp_path):
    net = create_net("isresnext_tiny", num_classes=(4, 2)).eval()
    redraw(net, torch.Generator().manual_seed(0))
    bundle = Bundle.create(
        net,
        class_names=[["a", "b", "c", "d"], ["e", "f"]],
        preprocessing=Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3),
    )
    with pytest.warns(UserWarning, match="computes all stages"):
        file = export_single_file(bundle, tmp_path / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == [f"stage{stage}.level{level}" for stage in (1, 2, 3) for level in (1, 2)]
    assert "computes all" in session.get_modelmeta().description
    for batch in (1, 3):
        x = torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            wanted = [level.numpy() for output in net(x) for level in output]
        for found, level in zip(session.run(None, {"x": x.numpy()}), wanted, strict=True):
            assert np.allclose(found, level, atol=1e-5 * np.abs(level).max())
    with pytest.raises(BundleError, match="overwrite=True"):
        export_single_file(bundle, file)


def test_the_command_writes_one_file_and_refuses_what_does_not_go_with_it(tmp_path, capsys):
    net = create_net("plain_chain_tiny", num_classes=2)
    look = Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3)
    bundle = Bundle.create(net, class_names=[["a", "b"]], preprocessing=look).save(tmp_path / "bundle")
    out = tmp_path / "net.onnx"
    assert run(["export", str(bundle), "--out", str(out), "--single-file"]) == 0
    printed = capsys.readouterr().out  # and no warning beside it, which would be an error here
    assert f"{out.stat().st_size:,} bytes, 3 stages" in printed
    assert "compute all of them" in printed
    assert run(["export", str(bundle), "--out", str(out), "--single-file", "--segments", "all"]) == 1
    assert "leave out --format, --segments and" in capsys.readouterr().err
