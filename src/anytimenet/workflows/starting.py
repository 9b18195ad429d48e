"""The weights that a run starts from, and what tells one net from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anytimenet.bundle import Bundle
from anytimenet.bundle.loading import load
from anytimenet.core.delivery.addresses import is_url
from anytimenet.core.errors import TrainingError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.core.manifest.folder import find_bundle
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.finite import not_finite
from anytimenet.training.checkpoints import Checkpoint, told_run
from anytimenet.workflows.identity import net_identity


def pretraining_of(init: Bundle | Path | str | None) -> Pretraining | None:
    """How images must look to the weights of `init`; None without one, and for a checkpoint of old.

    Raises:
        BundleError: if there is no such bundle, or it is damaged.
    """
    manifest = manifest_of(init)
    if manifest is None:
        return None if init is None else _pretraining_of_checkpoint(Path(str(init)))
    place = "a bundle" if isinstance(init, Bundle) else str(init)
    return Pretraining.of(manifest.preprocessing, _by_way_of(place, manifest.provenance.get("weights")))


def manifest_of(init: Bundle | Path | str | None) -> Manifest | None:
    """What the bundle `init` says of itself; None without one, and for a checkpoint."""
    if init is None or isinstance(init, Bundle):
        return None if init is None else init.manifest
    if not is_url(init):
        return None if Path(init).suffix == ".safetensors" else Manifest.read(find_bundle(init))
    return load(init).manifest


@torch.no_grad()
def start_from(net: AnytimeNet, init: Bundle | Path | str) -> int:
    """Copies the weights of `init` into `net`; classifiers of another number of classes start anew.

    The net then knows how images look to them: `net.pretraining`.

    Args:
        net: the net to train.
        init: a bundle, the folder of one or of a run, the https URL of one, or a checkpoint file of a run.

    Returns:
        How many tensors were copied.

    Raises:
        BundleError, TrainingError: if there is no such bundle or checkpoint, or it is damaged.
        ValueError: if anything but the number of classes differs.
    """
    source, copied = _source(net, init), 0
    for name, tensor in net.state_dict().items():
        other = source.weights.get(name)
        if other is not None and other.shape == tensor.shape:
            tensor.copy_(other)
            copied += 1
        elif other is None or not _is_classifier(tensor, net, other, source.num_classes):
            raise ValueError(
                f"the weights of {source.kind} do not fit this net ({_differences(source, net) or name}): "
                "fine-tune the same net with the same arguments, only num_classes may change"
            )
    net.pretraining = pretraining_of(init) or net.pretraining
    return copied


@dataclass(frozen=True)
class _Source:
    """Weights with the name and the arguments of their net."""

    kind: str
    weights: Mapping[str, Tensor]
    num_classes: tuple[int, ...]
    name: str | None
    arguments: Mapping[str, Any]


def _pretraining_of_checkpoint(path: Path) -> Pretraining | None:
    """What the checkpoint says; None if it does not, or is none: whoever reads its weights says why."""
    told = told_run(path).get("images")
    if not isinstance(told, dict):
        return None
    preprocessing = Preprocessing.from_dict(told["preprocessing"])
    return Pretraining.of(preprocessing, _by_way_of(str(path), told.get("weights")))


def _by_way_of(place: str, before: object) -> str:
    """Where weights come from that lie in `place`, and were others `before`."""
    return f"{before}, by way of {place}" if isinstance(before, str) else place


def _source(net: AnytimeNet, init: Bundle | Path | str) -> _Source:
    if not isinstance(init, Bundle) and Path(init).suffix == ".safetensors":
        return _of_checkpoint(net, Path(init))
    other = (init if isinstance(init, Bundle) else load(init)).net
    name, arguments = (None, {}) if other.origin is None else (other.origin.name, other.origin.arguments)
    return _Source("the bundle", other.state_dict(), other.num_classes, name, arguments)


def _of_checkpoint(net: AnytimeNet, path: Path) -> _Source:
    checkpoint = Checkpoint.load(path)
    checkpoint.check_forms(net_identity(net))
    weights, run = checkpoint.weights, checkpoint.run
    learnt = {name for name, _ in net.named_parameters()}
    broken = not_finite({name: tensor for name, tensor in weights.items() if name in learnt})
    if broken is not None:
        raise TrainingError(f"{broken} in {path} is not finite: no run can start from it")
    arguments = run.get("net_args")
    arguments = arguments if isinstance(arguments, dict) else {}
    classes = arguments.get("num_classes", net.num_classes)
    counts = classes if isinstance(classes, list | tuple) else [classes]
    name = run.get("net") if net.origin is not None else None
    return _Source("the checkpoint", weights, tuple(counts), name, arguments)


def _differences(source: _Source, net: AnytimeNet) -> str:
    """What two nets were built from differently, `num_classes` apart."""
    if source.name is None or net.origin is None:
        return ""
    if source.name != net.origin.name:
        return f"{source.name}, here {net.origin.name}"
    theirs, ours = source.arguments, net.origin.arguments
    names = sorted({*theirs, *ours} - {"num_classes"})
    changed = [name for name in names if theirs.get(name) != ours.get(name)]
    return "; ".join(f"{n} {theirs.get(n, 'default')}, here {ours.get(n, 'default')}" for n in changed)


def _is_classifier(tensor: Tensor, net: AnytimeNet, other: Tensor, classes: tuple[int, ...]) -> bool:
    same_features = tensor.shape[1:] == other.shape[1:]
    return same_features and tensor.shape[0] in net.num_classes and other.shape[0] in classes
