"""How the net of a bundle is built again: by its registered name, or given and recognised."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from anytimenet.core.errors import BundleError
from anytimenet.core.files.writing import sha256
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import TASKS, NetOrigin, Structure
from anytimenet.costs import meta_copy
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.registry import build_on_meta, rebuild_net

BY_HAND = (
    "its net was built by hand, so that nothing but its code builds it again: build it in Python and load "
    "the bundle with anytimenet.load(PATH, net=NET). To have it load by itself, on the command line too, "
    "register its builder (register_net; import MODULE), put its weights into a net from "
    "create_net, and save that"
)


def rebuild(manifest: Manifest, folder: Path, given: AnytimeNet | None) -> AnytimeNet:
    """The net on the meta device, without weights."""
    origin = manifest.net
    if origin is None:
        assert manifest.structure is not None
        if given is None:
            raise BundleError(f"{folder}: {BY_HAND}")
        net = _given_net(given, manifest.structure, folder)
    elif given is not None:
        raise ValueError(
            f"{folder} holds {origin.name}, which is built again by itself: leave out net, which is for nets "
            "that were built by hand"
        )
    else:
        net = _rebuild_registered(origin, folder)
    try:
        check_belongs(net, manifest)
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from error
    return net


def check_belongs(net: AnytimeNet, manifest: Manifest) -> None:
    """Raises BundleError unless the manifest is one of this net."""
    classes = tuple(len(names) for names in manifest.class_names)
    if manifest.task_kind not in TASKS:
        classes = net.num_classes  # a task of one's own need not predict the classes that its data has
    told = (manifest.num_stages, classes, manifest.input_shape[0])
    real = (net.num_stages, tuple(net.num_classes), net.in_channels)
    for what, is_told, is_real in zip(("stages", "classes", "input channels"), told, real, strict=True):
        if is_told != is_real:
            raise BundleError(
                f"the net has {is_real} {what} and its manifest says {is_told}: they must agree"
            )


def structure_of(net: AnytimeNet) -> Structure:
    """What is stored of a net built by hand; on any device, weights do not matter.

    >>> from anytimenet.nets import create_net
    >>> one, other = (structure_of(create_net("isresnext_tiny", classes)) for classes in (2, 3))
    >>> one.differences(other)
    ['its tensors have other names, shapes or dtypes', 'its stages use other parts of them']
    """
    tensors = sorted(
        (name, list(tensor.shape), str(tensor.dtype)) for name, tensor in net.state_dict().items()
    )
    parts = sorted((part.name, list(part.box), sorted(part.stages)) for part in net.parts())
    return Structure(type(net).__qualname__, _hash(tensors), _hash(parts))


def _given_net(net: AnytimeNet, saved: Structure, folder: Path) -> AnytimeNet:
    """A copy of `net` on the meta device, to be filled with what was saved; `net` stays as it is.

    Raises:
        BundleError: unless it is a net like the one that was saved; the message says what differs.
    """
    if not isinstance(net, AnytimeNet):
        raise TypeError(
            f"net must be an AnytimeNet, built as the one that was saved, not {type(net).__name__}"
        )
    differences = saved.differences(structure_of(net))
    if differences:
        raise BundleError(
            f"{folder}: the net that was given is not built as the one that was saved: "
            f"{'; '.join(differences)}. Build it with the same code and arguments"
        )
    return meta_copy(net)


def _hash(value: Sequence[object]) -> str:
    return sha256(json.dumps(value, separators=(",", ":")).encode())


def _rebuild_registered(origin: NetOrigin, folder: Path) -> AnytimeNet:
    try:
        return build_on_meta(lambda: rebuild_net(origin))
    except Exception as error:  # a builder is anybody's code, and its arguments come from a file
        raise BundleError(
            f"{folder}: its net cannot be built ({error}); if the net is your own, first import the module "
            "that registers it (import MODULE), else upgrade anytimenet"
        ) from error
