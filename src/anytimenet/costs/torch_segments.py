"""What the latency profiler times for a net that PyTorch runs, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from anytimenet.nets.contract import AnytimeNet, State
from anytimenet.nets.snapshot import device_named, floating


def torch_segments(
    net: AnytimeNet,
    input_shape: Sequence[int],
    *,
    dtype: str | torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Callable[[int, int, int], Callable[[], object]]:
    """A `prepare` for `profile_segments`: segments of one snapshot of `net`, run eagerly.

    The state at `start` comes from running the steps 1..start on one random batch. A run carries the state
    on, as a run that may be continued does; it waits for the device.

    Args:
        net: any anytime net with weights; it is left as it is.
        input_shape: (C, H, W) of one image.
        dtype: floating number format of weights and images, or its name.
        device: where the segments run.

    Raises:
        ValueError: for another dtype, a net without weights (meta device), or images that do not fit.
    """
    dtype, device = floating(dtype), device_named(device)
    if any(parameter.is_meta for parameter in net.parameters()):
        raise ValueError("a net on the meta device has no weights to run; load or initialise it first")
    net.input_spec.check(net.input_spec.shape_of(input_shape))

    snapshot = net.snapshot(device, dtype)

    def prepare(start: int, stop: int, batch: int) -> Callable[[], object]:
        images = torch.randn(batch, *input_shape, generator=torch.Generator().manual_seed(0))
        state: State = (images.to(device=device, dtype=dtype),)
        segment = snapshot.segment(start, stop)
        with torch.inference_mode():
            for stage in range(1, start + 1):
                state, _ = snapshot.segment(stage - 1, stage)(state)

        def run() -> object:
            with torch.inference_mode():
                result = segment(state)
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            return result

        return run

    return prepare
