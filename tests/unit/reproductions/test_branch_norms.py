"""Branch norms: the columns of the third convolution that belong to a branch."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from anytimenet.nets import create_net

SCRIPT = Path(__file__).parents[3] / "reproductions" / "branch_norms.py"
SCRIPTED = runpy.run_path(str(SCRIPT))
branch_l1_norms, plot_branch_norms = SCRIPTED["branch_l1_norms"], SCRIPTED["plot_branch_norms"]


@pytest.mark.parametrize(("block", "width"), [(1, 2), (2, 4), (3, 8)])
def test_a_branch_counts_its_own_columns(block, width):
    net = create_net("iresnext_tiny")
    weight = net.blocks[block - 1].conv3.weight
    with torch.no_grad():
        for branch in range(3):
            weight[:, branch * width : (branch + 1) * width] = (-1) ** branch * (branch + 1)
    rows = weight.shape[0]
    assert branch_l1_norms(net, block).tolist() == [rows * width * scale for scale in (1, 2, 3)]


def test_block_5_of_the_paper_has_eight_branches_of_1024_weights():
    net = create_net("iresnext_29")
    with torch.no_grad():
        net.blocks[4].conv3.weight.fill_(-0.5)
    assert branch_l1_norms(net, 5).tolist() == [512.0] * 8


def test_plain_resnexts_have_branches_too_and_other_nets_do_not():
    assert branch_l1_norms(create_net("resnext_tiny"), 1).shape == (2,)
    with pytest.raises(ValueError, match="not of ISResNeXt"):
        branch_l1_norms(create_net("isresnext_tiny"), 1)
    for block in (0, 4):
        with pytest.raises(ValueError, match=f"block {block} does not exist: 1 to 3"):
            branch_l1_norms(create_net("iresnext_tiny"), block)


def test_the_picture_has_a_line_a_net_and_a_band_over_runs(tmp_path):
    norms = {"I-ResNeXt": np.array([[3.0, 2.0, 1.0], [3.2, 2.2, 0.8]]), "ResNeXt": np.full(2, 2.0)}
    text = plot_branch_norms(norms, tmp_path / "norms.svg", title="block 5").read_text(encoding="utf-8")
    assert all(word in text for word in ("I-ResNeXt", "ResNeXt", "block 5", "l1 norm", "branch"))
    assert "FillBetween" in text or "PolyCollection" in text
    again = plot_branch_norms(norms, tmp_path / "again.svg", title="block 5").read_text(encoding="utf-8")
    assert again == text


@pytest.mark.parametrize("norms", [{}, {"a": np.zeros((1, 2, 3))}, {"a": np.zeros(0)}])
def test_what_is_no_norms_is_refused(norms, tmp_path):
    with pytest.raises(ValueError, match="branch norms are an array"):
        plot_branch_norms(norms, tmp_path / "norms.png")
