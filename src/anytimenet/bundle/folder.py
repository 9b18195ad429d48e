"""A bundle's folder: written whole or not at all, and read no further than needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

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
from anytimenet.bundle.structure import rebuild, structure_of
from anytimenet.core import checks
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
from anytimenet.core.manifest.seen_images import SEEN_NAME, SeenImages
from anytimenet.core.manifest.segments import SEGMENTS_NAME, pack_segments
from anytimenet.core.manifest.tables import is_table, kept_tables, pack_table, readable_tables
from anytimenet.core.segments import SegmentSpec
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.members.specs import origin_of
from anytimenet.nets.registry import build_on_meta, rebuild_net

ExtraFile = bytes | Path | str
"""A file to add: its content, or a path to copy it from."""


def write_bundle(
    net: AnytimeNet,
    manifest: Manifest,
    tables: Mapping[str, CostTable],
    path: Path,
    extra_files: Mapping[str, ExtraFile],
    *,
    segments: Sequence[SegmentSpec] = (),
    seen: SeenImages | None = None,
    carry_from: Path | None = None,
    known: str | None = None,
) -> Manifest:
    """Writes the folder and returns the manifest that lies in it; `Bundle.save` says what is raised.

    Args:
        segments: of the net.
        carry_from: the folder that the bundle was loaded from; files that were added to it are written, too.
        known: the stamp of a bundle that may be replaced; "any" for whichever is there.
    """
    saved, layout = savable(net, manifest)
    path = path.resolve()
    check_replaceable(path)
    _check_known(path, known)
    extra = {**_carried(manifest, carry_from), **_contents(extra_files)}
    try:
        with new_folder(path) as folder:
            records = {}
            for name, data in _files(net, layout, tables, segments, seen, extra):
                write_bytes(folder / name, data)
                records[name] = record_of(data)
            saved = replace(saved, files=records)
            saved.write(folder)
            # Not listed: the card is for people, who may edit it.
            write_text(folder / CARD_NAME, model_card(saved, tables, extra))
    except OSError as error:
        raise BundleError(
            f"the bundle cannot be written to {path} ({error.strerror or error}); what was there is "
            "unchanged: make room, or choose another folder"
        ) from error
    return saved


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
    folder: Path,
    *,
    stages: int | None,
    device: torch.device | str,
    net: AnytimeNet | None = None,
    before: AnytimeNet | None = None,
) -> tuple[AnytimeNet, Manifest, dict[str, CostTable]]:
    """Net, manifest and cost tables of the first `stages` stages; `Bundle.load` says what is raised.

    Args:
        before: the net of fewer stages that was read before; its files are not read again.
    """
    _check_device(device)
    manifest = Manifest.read(folder)
    total = manifest.num_stages
    stages = total if stages is None else stages
    if not 1 <= stages <= total:
        raise ValueError(f"stages={stages!r}: {folder} holds {total} stages, so 1 to {total} can be loaded")
    whole = rebuild(manifest, folder, net)
    first = range(1, stages + 1)
    net = whole if stages == total else whole.keep(first)
    tables = kept_tables(readable_tables(folder, manifest), first)
    try:
        layout = layout_of(whole, net)
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from error
    first_shard = 1 if before is None else before.num_stages + 1
    fill(net, layout, _read_shards(manifest, folder, first_shard, stages, layout), device, before)
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


def _read_shards(
    manifest: Manifest, folder: Path, first: int, stages: int, layout: Sequence[Layout]
) -> Iterator[tuple[str, bytes]]:
    """Name and content of the shards of stages `first` to `stages`, one at a time."""
    for stage in range(first, stages + 1):
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
    net: AnytimeNet,
    layout: Sequence[Layout],
    tables: Mapping[str, CostTable],
    segments: Sequence[SegmentSpec],
    seen: SeenImages | None,
    extra: Mapping[str, bytes],
) -> Iterator[tuple[str, bytes]]:
    """Every file that the manifest lists, one at a time."""
    for stage, shard in enumerate(pack_shards(net, layout), 1):
        yield shard_name(stage, net.num_stages), shard
    for table in tables.values():
        yield pack_table(table)
    if segments:
        yield pack_segments(segments)
    if seen is not None:
        yield SEEN_NAME, seen.to_bytes()
    yield from extra.items()


def _contents(extra_files: Mapping[str, ExtraFile]) -> dict[str, bytes]:
    """The content of added files, read before anything is written."""
    checks.instance(extra_files, Mapping, "extra_files", '{"curve.png": PATH}')
    contents = {}
    for name, source in extra_files.items():
        if _is_own(check_file_name(checks.words(name, "extra_files"))):
            raise BundleError(f"{name} is a name that the bundle itself uses: choose another")
        file = source if isinstance(source, bytes) else checks.path(source, "extra_files")
        try:
            contents[name] = file if isinstance(file, bytes) else read_regular(file)
        except OSError as error:
            raise BundleError(f"{name} cannot be added to the bundle: {error}") from error
    return contents


def _carried(manifest: Manifest, folder: Path | None) -> dict[str, bytes]:
    """Files that were added to the bundle that was loaded, as far as they are still there."""
    if folder is None:
        return {}
    names = [name for name in manifest.files if not _is_own(name) and (folder / name).exists()]
    return {name: _read(manifest, folder, name) for name in names}


def _is_own(name: str) -> bool:
    return name in (MANIFEST_NAME, CARD_NAME, SEEN_NAME, SEGMENTS_NAME) or is_table(name) or is_shard(name)


def _check_device(device: torch.device | str) -> None:
    checks.instance(device, (torch.device, str), "device", "'cpu'")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {device!r} cannot be used here ({reason}): load with device='cpu'"
        ) from error
