"""Which files of a folder each stage needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.folder import AGAIN, FileRecord
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.shard_names import shard_name
from anytimenet.core.manifest.tables import is_table
from anytimenet.runtime.exported.record import EXPORT_NAME, ExportRecord


@dataclass(frozen=True)
class StageFiles:
    """The files of a bundle or an exported net, in the order in which they are wanted.

    Attributes:
        by_stage: for each stage 1..K the files that it needs beyond those of the stages before; cost tables
            belong to stage 1.
        rest: files that no answer needs.
        files: size and hash of each.

    Raises:
        BundleError: if the manifest does not list a file that a stage needs.
    """

    by_stage: tuple[tuple[str, ...], ...]
    rest: tuple[str, ...]
    files: Mapping[str, FileRecord]

    def __post_init__(self) -> None:
        missing = [name for names in self.by_stage for name in names if name not in self.files]
        if missing:
            raise BundleError(f"the manifest does not list {missing[0]}: {AGAIN}")

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self.by_stage)

    def of(self, stages: int) -> tuple[str, ...]:
        """What the first so many stages need."""
        return tuple(name for names in self.by_stage[:stages] for name in names)


def stage_files(folder: Path, manifest_name: str) -> StageFiles:
    """The files of the folder, by the manifest in it.

    Raises:
        BundleError: if the manifest cannot be used.
    """
    if manifest_name == EXPORT_NAME:
        record = ExportRecord.read(folder)
        needed = [record.needed(stages) for stages in range(record.net.num_stages + 1)]
        own = [
            tuple(name for name in now if name not in before)
            for before, now in zip(map(set, needed[:-1]), needed[1:], strict=True)
        ]
        return _ordered(own, record.files)
    manifest = Manifest.read(folder)
    total = manifest.num_stages
    return _ordered([(shard_name(stage, total),) for stage in range(1, total + 1)], manifest.files)


def _ordered(own: list[tuple[str, ...]], files: Mapping[str, FileRecord]) -> StageFiles:
    tables = tuple(filter(is_table, files))
    by_stage = ((*tables, *own[0]), *own[1:])
    wanted = {name for names in by_stage for name in names}
    return StageFiles(by_stage, tuple(name for name in files if name not in wanted), files)
