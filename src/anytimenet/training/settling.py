"""What a run takes from its data where its configuration leaves it open: once, before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anytimenet.nets.contract import AnytimeNet
from anytimenet.training.checkpoints import told_run
from anytimenet.training.config import TrainConfig
from anytimenet.training.launching import process_count
from anytimenet.training.statistics import followed_norms

FEW_STEPS = 1000
"""Runs of fewer steps than these are evaluated with precise statistics where "auto" decides.

Measured: reproductions/small_data, with BatchNorms of momentum 0.1, PyTorch's. Those that remember longer
need as many more: see `_few`.
"""

_BATCH_SIZES = (64, 32, 16)
_STEPS_AN_EPOCH = 12


def batch_size_for(images: int, processes: int = 1) -> int:
    """Images in a step where the data decides: the largest of 64, 32 and 16 that gives 12 steps an epoch.

    Fewer than 192 images are read in batches of 16, too: smaller ones have poor statistics. Several processes
    share the batch equally, two images each at least. Measured: reproductions/small_data.

    >>> [batch_size_for(count) for count in (40, 243, 500, 50_000)]
    [16, 16, 32, 64]
    """
    size = next((size for size in _BATCH_SIZES if images // size >= _STEPS_AN_EPOCH), _BATCH_SIZES[-1])
    return max(2, min(size, images) // processes) * processes


def settled(
    config: TrainConfig,
    net: AnytimeNet,
    *,
    images: int | None = None,
    steps: int | None = None,
    example: Tensor | None = None,
    folder: Path | None = None,
) -> TrainConfig:
    """`config` with a batch size and with the statistics that "auto" means.

    What an earlier attempt in `folder` has settled is not settled again.

    Args:
        config: of the run.
        net: the net that will be trained.
        images: how many images train; with it the batch size is settled.
        steps: of the whole run; by default those of `images`.
        example: some images `(N, C, H, W)`, to see whether stages share BatchNorms.
        folder: of a run that is resumed.

    Raises:
        ValueError: for statistics="precise" and a net whose stages share BatchNorms.
    """
    earlier = {} if folder is None else told_run(folder / "checkpoints" / "last.safetensors")
    if config.batch_size is None and images is not None:
        before = earlier.get("batch_size")
        size = before if type(before) is int and before >= 2 else None
        config = replace(config, batch_size=size or batch_size_for(images, process_count(config.devices)))
    if steps is None:
        assert images is not None
        assert config.batch_size is not None
        steps = images // min(config.batch_size, images) * config.epochs
    return replace(config, statistics=_statistics(config, net, steps, example, earlier))


def _statistics(
    config: TrainConfig, net: AnytimeNet, steps: int, example: Tensor | None, earlier: Mapping[str, Any]
) -> Any:
    if config.regime == "frozen":
        return "running"  # those of the backbone stay as they are
    if config.statistics == "running":
        return "running"
    if config.statistics == "auto" and not earlier and not _few(steps, net):
        return "running"
    if config.statistics == "auto" and earlier:
        return "precise" if earlier.get("statistics") == "precise" else "running"
    stages = net.stages_to_estimate()
    if not followed_norms(net) or not (stages or net.tracks_statistics):
        return "running"  # there are none, or the net does without them and gets its own afterwards
    possible = bool(stages) and not (example is not None and _share_norms(net, example))
    if config.statistics == "precise" and not possible:
        raise ValueError(
            "statistics='precise' cannot be: stages of this net share BatchNorms, whose one set of "
            "statistics cannot be right for each; use statistics='running'"
        )
    return "precise" if possible else "running"


def _few(steps: int, net: AnytimeNet) -> bool:
    """Whether running statistics lag behind the weights of a run of so many steps.

    A BatchNorm of momentum m remembers about 1 / m steps. With 0.01, TensorFlow's and so that of pretrained
    EfficientNets, 1,000 steps are ten memories, which in the middle of a run costs a net its answers.
    """
    momenta = [norm.momentum for norm in followed_norms(net) if norm.momentum is not None]
    return steps * min([0.1, *momenta]) < FEW_STEPS * 0.1


@torch.inference_mode()
def _share_norms(net: AnytimeNet, example: Tensor) -> bool:
    """Whether a BatchNorm runs more than once in one forward of the stages that would be estimated."""
    was_training, count = net.training, dict.fromkeys(followed_norms(net), 0)

    def seen(norm: torch.nn.Module, *_: object) -> None:
        count[norm] += 1  # type: ignore[index]

    hooks = [norm.register_forward_hook(seen) for norm in count]
    try:
        weight = next(net.parameters())
        net.eval()(example[:2].to(weight.device, weight.dtype), net.stages_to_estimate())
    finally:
        for hook in hooks:
            hook.remove()
        net.train(was_training)
    return max(count.values()) > 1
