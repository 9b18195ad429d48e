"""Recorded segments, with a recorder that repeats work on the CPU as a graph does: into the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from anytimenet.bundle.backends.cuda_graphs import GraphRunner, Result
from anytimenet.bundle.backends.eager import EagerBackend
from anytimenet.core.errors import BackendError
from anytimenet.nets import AnytimeNet, create_net
from anytimenet.testing import check_backend

recorded: list[int] = []


def record(work: Callable[[], Result]) -> tuple[Callable[[], object], Result]:
    """What is repeated overwrites the result of the recording, as a graph does it."""
    result = work()
    recorded.append(1)

    def repeat() -> None:
        for target, source in zip(_tensors(result), _tensors(work()), strict=True):
            if target is not source:
                target.copy_(source)

    return repeat, result


def _tensors(result: Result) -> list[torch.Tensor]:
    return [*result[0].values(), *result[1]]


class Recorded(EagerBackend):
    def _build(self, start: int, stop: int) -> Any:
        return GraphRunner(super()._build(start, stop), record)


@pytest.mark.parametrize("name", ["isresnext_tiny", "msdnet_tiny", "iresnext_tiny"])
def test_recorded_segments_keep_what_backends_promise(name: str):
    recorded.clear()
    check_backend(Recorded, create_net(name), (3, 8, 8))
    net = create_net(name)
    assert len(recorded) <= 3 * net.num_stages * (net.num_stages + 1) // 2  # batches of 1, 2 and 3


def test_shapes_beyond_eight_are_not_recorded():
    backend = Recorded(create_net("isresnext_tiny").eval())
    recorded.clear()
    for batch in range(1, 12):
        x = torch.randn(batch, 3, 8, 8).numpy()
        plain = EagerBackend(backend.net)
        _, expected = plain.run(0, 2, plain.begin(x))
        _, output = backend.run(0, 2, backend.begin(x))
        assert torch.allclose(torch.from_numpy(output[0]), torch.from_numpy(expected[0]), atol=1e-5)
    assert len(recorded) == 8


def test_a_cpu_has_no_graphs():
    net: AnytimeNet = create_net("isresnext_tiny")
    with pytest.raises(BackendError, match="the device is cpu"):
        EagerBackend(net, graphs=True)
