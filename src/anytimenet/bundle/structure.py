"""How a net built by hand is recognised when it is given to `load`: its class, tensors and parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from anytimenet.core.errors import BundleError
from anytimenet.core.files.writing import sha256
from anytimenet.core.manifest.records import Structure
from anytimenet.costs import meta_copy
from anytimenet.nets.contract import AnytimeNet

BY_HAND = (
    "its net was built by hand, so that nothing but its code builds it again: build it in Python and load "
    "the bundle with anytimenet.load(PATH, net=NET). To have it load by itself, on the command line too, "
    "register its builder (register_net; import MODULE), put its weights into a net from "
    "create_net, and save that"
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


def given_net(net: AnytimeNet, saved: Structure, folder: Path) -> AnytimeNet:
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
