"""`anytimenet page EXPORT --out FOLDER`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from anytimenet.cli.output import emit

if TYPE_CHECKING:
    from anytimenet.runtime import ExportedNet
    from anytimenet.serving.samples import Sample


@dataclass(frozen=True)
class Page:
    """Write a web page on which a net answers in the browser, for any static host.

    The net arrives in stages, and answers after the first. Nothing is sent anywhere. JSON: {out, bytes,
    page_bytes, engine_bytes, net_bytes, first_bytes, samples}; first_bytes is what arrives before the first
    answer.
    """

    export: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="EXPORT")]
    """Folder of `anytimenet export --format native`."""
    out: Path
    """The new folder."""
    samples: str | None = None
    """Images to try: a folder of images, in sub-folders by class or without, whose test/ is taken if there is
    one, or data by name, such as digits. By default those of data in memory that the net was trained on."""
    count: int = 8
    """Samples to choose; every second one is an image on which the stages disagree, if there is one."""
    title: str | None = None
    """What the net is called; by default the name of its folder."""
    overwrite: bool = False
    """Replace a site that is at --out."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""

    def run(self) -> None:
        """Chooses samples, writes the folder, and says how to look at it."""
        from anytimenet.core import checks
        from anytimenet.runtime import ExportedNet
        from anytimenet.serving.samples import chosen
        from anytimenet.serving.site import write_site

        count = checks.whole_number(self.count, "count", 0, 100)
        net = ExportedNet.load(self.export)
        found = self._candidates(net) if count else []
        samples = chosen(found, net.predictor(policy=None), count) if found else []
        write_site(self.export, self.out, samples, title=self.title, overwrite=self.overwrite)
        result = {"out": str(self.out), **sizes(self.out), "samples": len(samples)}
        if emit(self.json, result):
            print(
                f"{self.out}: {result['bytes']:,} bytes; {result['first_bytes']:,} of them arrive before the "
                f"first answer. {len(samples)} samples."
            )
            print(f"Look at it: python -m http.server --directory {self.out}, then http://localhost:8000")

    def _candidates(self, net: ExportedNet) -> list[Sample]:
        from anytimenet.cli.samples import candidates, offline_data

        named = self.samples if self.samples is not None else offline_data(net.manifest)
        return [] if named is None else candidates(named)


def sizes(site: Path) -> dict[str, int]:
    """Bytes of a site by what they are for."""
    from anytimenet.runtime.exported.record import EXPORT_NAME, ExportRecord

    def total(folder: Path) -> int:
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    parts = {name: total(site / name) for name in ("engine", "net", "samples")}
    net = site / "net"
    page = total(site) - sum(parts.values())
    first = sum((net / name).stat().st_size for name in (EXPORT_NAME, *ExportRecord.read(net).needed(1)))
    return {
        "bytes": total(site),
        "page_bytes": page,
        "engine_bytes": parts["engine"],
        "net_bytes": parts["net"],
        "first_bytes": page + parts["engine"] + first,
    }
