"""A static site: the page with the engine for browsers, an exported net and samples; it needs no server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from anytimenet.core import checks
from anytimenet.core.errors import BackendError, BundleError
from anytimenet.core.files.regular import read_regular
from anytimenet.core.files.writing import new_folder, write_bytes, write_json, write_text
from anytimenet.core.version import __version__
from anytimenet.native import library
from anytimenet.runtime.exported.net import ExportedNet
from anytimenet.runtime.exported.record import EXPORT_NAME, ExportRecord
from anytimenet.serving.samples import Sample, write_samples

PAGE = Path(__file__).parent / "page"
ENGINE = Path(library.__file__).parent / "web"
SITE_NAME = "site.json"
"""What tells that a folder is such a site, and may be replaced."""

_OF_SERVERS = '<meta name="answers" content="server">'
_OF_SITES = '<meta name="answers" content="browser">'
_OF_ENGINE = (".js", ".wasm")
_LARGEST = 2**31


def write_site(
    export: Path | str,
    out: Path | str,
    samples: Sequence[Sample] = (),
    *,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a folder that any static host shows; returns it.

    It holds the page, `engine/`, the exported net in `net/` and images in `samples/`; `README.md` begins with
    what hosts of static spaces want to know.

    Args:
        export: folder of `anytimenet export --format native`.
        out: the new folder.
        samples: images to try.
        title: of the net; by default the name of the export's folder.
        overwrite: replace a site that is there.

    Raises:
        BackendError: if the export is of another format, or of no net that labels images.
        BundleError: if the export is damaged, or something else is at `out`.
    """
    export, out = checks.path(export, "export"), checks.path(out, "out")
    net = ExportedNet.load(export)
    if net.kind != "native":
        raise BackendError(
            f"{export} is of format {net.kind}, and browsers run the native engine: export the bundle with "
            "format='native'"
        )
    if net.manifest.task_kind == "segmentation":
        raise BackendError(f"{export} predicts maps, and the page shows labels")
    title = checks.words(title if title is not None else export.resolve().name, "title")
    _check_replaceable(out, checks.flag(overwrite, "overwrite"))
    try:
        with new_folder(out) as place:
            _write_page(place)
            _write_net(export, place / "net")
            write_samples(samples, place / "samples")
            write_text(place / "README.md", _readme(net, title))
            write_json(place / SITE_NAME, {"title": title, "anytimenet": __version__})
    except OSError as error:
        raise BundleError(f"the site cannot be written to {out} ({error.strerror or error})") from error
    return out


def _check_replaceable(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / SITE_NAME).is_file():
        raise BundleError(f"{out} is no site that anytimenet wrote, and is left alone: give another folder")
    if not overwrite:
        raise BundleError(f"{out} holds a site already: give another folder, or overwrite=True to replace it")


def _write_page(place: Path) -> None:
    for file in sorted(PAGE.rglob("*")):
        if file.is_file():
            write_bytes(place / file.relative_to(PAGE), file.read_bytes())
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    assert index.count(_OF_SERVERS) == 1
    write_text(place / "index.html", index.replace(_OF_SERVERS, _OF_SITES))
    for file in sorted(ENGINE.iterdir()):
        if file.suffix in _OF_ENGINE:
            write_bytes(place / "engine" / file.name, file.read_bytes())


def _write_net(export: Path, place: Path) -> None:
    """Every file that the export lists, each of which was checked when it was loaded; no others."""
    for name in (EXPORT_NAME, *ExportRecord.read(export).files):
        write_bytes(place / name, read_regular(export / name, _LARGEST))


def _readme(net: ExportedNet, title: str) -> str:
    """The card of the site, with the front matter that a host of static spaces reads."""
    classes = net.manifest.class_names[0]
    shown = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    return f"""---
title: {json.dumps(title, ensure_ascii=False)}
emoji: ⏱️
colorFrom: blue
colorTo: indigo
sdk: static
app_file: index.html
pinned: false
---
# {title}
A network with {net.num_stages} predictions that answers within any deadline, in the browser: the first
part of its weights is enough to answer, and every further part makes the answer better. It knows
{len(classes)} classes: {shown}.

Any static host shows this folder over http or https; on your own machine `python -m http.server` in it
does. Made by `anytimenet page`.
"""
