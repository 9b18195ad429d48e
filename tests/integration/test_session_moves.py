"""A session that was saved goes on in another process, and on another backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.export import export
from anytimenet.runtime import ExportedNet, SavedSession, Session
from anytimenet.testing.net_under_test import redraw

ELSEWHERE = """
import sys
import numpy as np, torch
import anytimenet as an
from anytimenet.runtime import SavedSession, Session
torch.set_num_threads(1)
session = Session.restore(an.load(sys.argv[1]), SavedSession.read(sys.argv[2]))
session.resume()
session.step()
np.savez(sys.argv[3], *[session.outputs[stage][0] for stage in (1, 2, 3)])
"""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    net = create_net("isresnext_tiny", num_classes=4, in_channels=1).eval()
    redraw(net, torch.Generator().manual_seed(0))
    return Bundle.create(
        net, class_names=[list("abcd")], preprocessing=Preprocessing(8, 8, 1, (0.5,), (0.5,))
    )


def paused(bundle: Bundle) -> Session:
    """After stage 1, with stage 2 still to come of its path."""
    x = np.random.default_rng(0).standard_normal((2, 1, 8, 8), dtype=np.float32)
    session = Session(bundle, x)
    next(session.answers([(0, 1), (1, 2)]))
    return session


@pytest.mark.slow
def test_it_goes_on_in_another_process_bit_for_bit(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    session = paused(bundle)
    session.save().write(tmp_path / "run.safetensors")
    names = [str(tmp_path / name) for name in ("bundle", "run.safetensors", "outputs.npz")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *names], check=True)
    session.resume()
    session.step()
    with np.load(tmp_path / "outputs.npz") as found:
        for stage in (1, 2, 3):
            np.testing.assert_array_equal(found[f"arr_{stage - 1}"], session.outputs[stage][0])


def test_it_goes_on_on_the_backend_of_an_exported_folder(bundle: Bundle, tmp_path: Path) -> None:
    session = paused(bundle)
    exported = ExportedNet.load(export(bundle, tmp_path / "export"))
    again = Session.restore(exported, SavedSession.from_bytes(session.save().to_bytes()))
    for each in (session, again):
        each.resume()
        each.step()
    for stage in (2, 3):
        ours = session.outputs[stage][0]
        np.testing.assert_allclose(again.outputs[stage][0], ours, rtol=0, atol=1e-5 * np.abs(ours).max())
