"""A bundle's folder: written whole or not at all, and read no further than needed."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from anytimenet.bundle.shards import (
    Layout,
    check_one_precision,
    fill,
    is_shard,
    largest_shard,
    layout_of,
    pack_shards,
    shard_name,
)
from anytimenet.bundle.structure import BY_HAND, given_net, structure_of
from anytimenet.core.checks import instance
from anytimenet.core.errors import BundleError
from anytimenet.core.files.regular import read_regular
from anytimenet.core.files.writing import new_folder, write_bytes, write_text
from anytimenet.core.manifest.card import model_card
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.folder import (
    AGAIN,
    CARD_NAME,
    LARGEST_JSON,
    MANIFEST_NAME,
    check_file_name,
    check_replaceable,
    read_listed,
    record_of,
)
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.core.manifest.seen_images import SEEN_NAME, SeenImages
from anytimenet.core.manifest.tables import COSTS, kept_tables, pack_table, readable_table
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.members.eann import EANN
from anytimenet.nets.members.specs import members_spelt_out
from anytimenet.nets.registry import build_on_meta, net_entry, rebuild_net

if TYPE_CHECKING:
    from anytimenet.bundle.bundle import Bundle

ExtraFile = bytes | Path | str
"""A file to add: its content, or a path to copy it from."""


def write_bundle(
    bundle: Bundle,
    path: Path,
    extra_files: Mapping[str, ExtraFile],
    carry_from: Path | None,
    known: str | None,
) -> Manifest:
    """Writes the folder and returns the manifest that lies in it; `Bundle.save` says what is raised.

    `known` is the stamp of a bundle that may be replaced; "any" for whichever is there.
    """
    manifest, layout = savable(bundle.net, bundle.manifest)
    path = path.resolve()
    check_replaceable(path)
    _check_known(path, known)
    extra = {**_carried(bundle.manifest, carry_from), **_contents(extra_files)}
    try:
        with new_folder(path) as folder:
            records = {}
            for name, data in _files(bundle, layout, extra):
                write_bytes(folder / name, data)
                records[name] = record_of(data)
            manifest = replace(manifest, files=records)
            manifest.write(folder)
            # Not listed: the card is for people, who may edit it.
            write_text(folder / CARD_NAME, model_card(manifest, bundle.cost_tables, extra))
    except OSError as error:
        raise BundleError(
            f"the bundle cannot be written to {path} ({error.strerror or error}); what was there is "
            "unchanged: make room, or choose another folder"
        ) from error
    return manifest


def savable(net: AnytimeNet, manifest: Manifest) -> tuple[Manifest, list[Layout]]:
    """The manifest of a bundle that is to be saved, and what its shards hold.

    Raises:
        BundleError: for what could not be saved or loaded again; nothing is written.
    """
    structure = structure_of(net) if net.origin is None else None
    manifest = replace(manifest, net=origin_of(net), structure=structure, files={})
    size = len(json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False).encode())
    if size > LARGEST_JSON // 2:
        raise BundleError(
            f"{MANIFEST_NAME} would have {size} bytes and {LARGEST_JSON // 2} is the most: leave large "
            "things out of provenance and extensions, and add them as extra_files"
        )
    _check_precision(net)
    return manifest, layout_of(net, net)


def _check_precision(net: AnytimeNet) -> None:
    """Raises BundleError where weights are in dtypes that `load` would refuse."""
    tensors = net.state_dict()
    if net.origin is not None and len({t.dtype for t in tensors.values() if t.is_floating_point()}) > 1:
        origin = net.origin
        check_one_precision(tensors, build_on_meta(lambda: rebuild_net(origin)).state_dict())


def read_bundle(
    folder: Path, *, stages: int | None, device: torch.device | str, net: AnytimeNet | None = None
) -> tuple[AnytimeNet, Manifest, dict[str, CostTable]]:
    """Net, manifest and cost tables of the first `stages` stages; `Bundle.load` says what is raised."""
    _check_device(device)
    manifest = Manifest.read(folder)
    total = manifest.num_stages
    stages = total if stages is None else stages
    if not 1 <= stages <= total:
        raise ValueError(f"stages={stages!r}: {folder} holds {total} stages, so 1 to {total} can be loaded")
    whole = _rebuild(manifest, folder, net)
    names = [name for name in manifest.files if name.startswith(COSTS)]
    first = range(1, stages + 1)
    net = whole if stages == total else whole.keep(first)
    read = [readable_table(folder, name, manifest) for name in names]
    tables = kept_tables({table.device: table for table in read if table is not None}, first)
    try:
        layout = layout_of(whole, net)
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from error
    fill(net, layout, _read_shards(manifest, folder, stages, layout), device)
    return net, manifest if stages == total else manifest.keep(first), tables


def read_seen(folder: Path, manifest: Manifest) -> SeenImages | None:
    """What a bundle knows of the images that it has seen; None if it says nothing, or the file is not there.

    Raises:
        BundleError: if the file is damaged or tampered with.
    """
    if SEEN_NAME not in manifest.files or not (folder / SEEN_NAME).exists():
        return None
    try:
        return SeenImages.from_bytes(_read(manifest, folder, SEEN_NAME))
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from error


def check_belongs(net: AnytimeNet, manifest: Manifest) -> None:
    """Raises BundleError unless the manifest is one of this net."""
    classes = tuple(len(names) for names in manifest.class_names)
    told = (manifest.num_stages, classes, manifest.input_shape[0])
    real = (net.num_stages, tuple(net.num_classes), net.in_channels)
    for what, is_told, is_real in zip(("stages", "classes", "input channels"), told, real, strict=True):
        if is_told != is_real:
            raise BundleError(
                f"the net has {is_real} {what} and its manifest says {is_told}: they must agree"
            )


def origin_of(net: AnytimeNet) -> NetOrigin | None:
    """How to build the net again, its builder's defaults spelt out: a later version may change them."""
    if net.origin is None:
        return None
    parameters = list(inspect.signature(net_entry(net.origin.name).build).parameters.values())[1:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty and _is_json(p.default)}
    arguments = {**defaults, **net.origin.arguments}
    if isinstance(net, EANN):
        arguments = members_spelt_out(arguments)
    return replace(net.origin, arguments=arguments)


def _rebuild(manifest: Manifest, folder: Path, given: AnytimeNet | None) -> AnytimeNet:
    """The net on the meta device, without weights."""
    origin = manifest.net
    if origin is None:
        assert manifest.structure is not None
        if given is None:
            raise BundleError(f"{folder}: {BY_HAND}")
        net = given_net(given, manifest.structure, folder)
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


def _rebuild_registered(origin: NetOrigin, folder: Path) -> AnytimeNet:
    try:
        return build_on_meta(lambda: rebuild_net(origin))
    except Exception as error:  # a builder is anybody's code, and its arguments come from a file
        raise BundleError(
            f"{folder}: its net cannot be built ({error}); if the net is your own, first import the module "
            "that registers it (import MODULE), else upgrade anytimenet"
        ) from error


def _read_shards(
    manifest: Manifest, folder: Path, stages: int, layout: Sequence[Layout]
) -> Iterator[tuple[str, bytes]]:
    """Name and content of the first shards, one at a time."""
    for stage in range(1, stages + 1):
        name = shard_name(stage, manifest.num_stages)
        file = str(folder / name)
        if stage > 1 and not (folder / name).exists():
            raise BundleError(
                f"{file} is missing: download it, or load the stages that are there with stages={stage - 1}"
            )
        record, most = manifest.files.get(name), largest_shard(layout[stage - 1])
        if record is not None and record.bytes > most:
            raise BundleError(
                f"{file} is listed with {record.bytes} bytes, and the weights of that stage take no more "
                f"than {most}: {AGAIN}"
            )
        yield file, _read(manifest, folder, name)


def _check_known(path: Path, known: str | None) -> None:
    """Raises BundleError if another bundle than the `known` one would be replaced."""
    there = stamp_of(path)
    if there is not None and known not in ("any", there):
        raise BundleError(
            f"{path} holds a bundle already: choose another folder, or replace it with overwrite=True"
        )


def stamp_of(folder: Path) -> str | None:
    """What tells the bundle in `folder` from one that replaced it; None if there is none."""
    try:
        found = (folder / MANIFEST_NAME).stat()
    except OSError:
        return None
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"


def _read(manifest: Manifest, folder: Path, name: str) -> bytes:
    if name not in manifest.files:
        raise BundleError(f"{folder / MANIFEST_NAME} does not list {name}: {AGAIN}")
    return read_listed(folder, name, manifest.files[name])


def _files(
    bundle: Bundle, layout: Sequence[Layout], extra: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """Every file that the manifest lists, one at a time."""
    for stage, shard in enumerate(pack_shards(bundle.net, layout), 1):
        yield shard_name(stage, bundle.num_stages), shard
    for table in bundle.cost_tables.values():
        yield pack_table(table)
    if bundle.seen is not None:
        yield SEEN_NAME, bundle.seen.to_bytes()
    yield from extra.items()


def _contents(extra_files: Mapping[str, ExtraFile]) -> dict[str, bytes]:
    """The content of added files, read before anything is written."""
    contents = {}
    for name, source in extra_files.items():
        if _is_own(check_file_name(name)):
            raise BundleError(f"{name} is a name that the bundle itself uses: choose another")
        try:
            contents[name] = source if isinstance(source, bytes) else read_regular(source)
        except OSError as error:
            raise BundleError(f"{name} cannot be added to the bundle: {error}") from error
    return contents


def _carried(manifest: Manifest, folder: Path | None) -> dict[str, bytes]:
    """Files that were added to the bundle that was loaded, as far as they are still there."""
    if folder is None:
        return {}
    names = [name for name in manifest.files if not _is_own(name) and (folder / name).exists()]
    return {name: _read(manifest, folder, name) for name in names}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _is_own(name: str) -> bool:
    return name in (MANIFEST_NAME, CARD_NAME, SEEN_NAME) or name.startswith(COSTS) or is_shard(name)


def _check_device(device: torch.device | str) -> None:
    instance(device, (torch.device, str), "device", "'cpu'")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {device!r} cannot be used here ({reason}): load with device='cpu'"
        ) from error
