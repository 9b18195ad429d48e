"""Whether the native engine computes with a program what PyTorch computes with the net it was made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from anytimenet.bundle.backends.settings import exact_float32
from anytimenet.core.errors import BackendError
from anytimenet.native.engine import Engine
from anytimenet.native.library import is_there
from anytimenet.nets.contract import AnytimeNet

TOLERANCE = 1e-3
"""Of the largest logit of a stage. Rounding stays within a tenth of it; what is lowered wrongly does not."""


def check_program(
    program: bytes, net: AnytimeNet, input_shape: tuple[int, ...], shards: Sequence[bytes]
) -> None:
    """Runs all steps on one image of noise, if the engine is there: with both, and compares the outputs.

    Args:
        program: of `net`.
        net: in eval mode, in float32.
        input_shape: (C, H, W).
        shards: the weight files.

    Raises:
        BackendError: if the engine refuses the program, or an output differs.
    """
    if not is_there():
        return
    x = np.random.default_rng(0).standard_normal((1, *input_shape), np.float32)
    session = Engine(program, shards).session()
    session.begin(x[0])
    snapshot = net.snapshot()
    state = (torch.from_numpy(x),)
    for stop in range(1, net.num_stages + 1):
        with torch.inference_mode(), exact_float32("cpu"):
            state, output = snapshot.segment(stop - 1, stop)(state)
        session.run(stop)
        wanted, found = np.concatenate([level.numpy()[0] for level in output]), session.output(stop)
        if not np.isfinite(wanted).all():
            return  # weights that overflow tell nothing
        error = float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), np.finfo(np.float32).tiny))
        if not error <= TOLERANCE:
            raise BackendError(
                f"the native engine does not compute stage {stop} of this net: its logits differ by "
                f"{error:.2g} of the largest from those of PyTorch. Run it with PyTorch, and please report it"
            )
