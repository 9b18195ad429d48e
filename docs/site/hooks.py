"""What MkDocs is told beside mkdocs.yml: the README is the first page, and links may leave `docs/`.

Pages link to each other and to sources as files of the repository, which works wherever it is read. On the
site a page beside `docs/` is copied in, a source file is its page of the API reference, and another file is
named. A link to a file that is not there is a warning, and warnings fail the build.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
SOURCES = "src/anytimenet"
BESIDE = ("reproductions", "benchmarks", "examples")
"""Folders whose pages and pictures are part of the site."""

_LINK = re.compile(r"(!?\[[^\[\]]*\])\(([^)#\s]+)(#[^)]*)?\)")
_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LOG = logging.getLogger("mkdocs.hooks.links")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the API reference, which is as the packages are, to the navigation."""
    assert config.nav is not None
    config.nav.append({"API": [{"Packages": "api/index.md"}, *_tree(ROOT / SOURCES)]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that do not lie in `docs/`."""
    from mkdocs.structure.files import File

    for path, place in beside().items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    names = [".".join(module.relative_to(ROOT / "src").parts) for module in modules()]
    for name in names:
        text = f"# `{name}`\n\n::: {name}\n"
        files.append(File.generated(config, f"api/{name}.md", content=text))
    packages = [name for name in names if (ROOT / "src" / name.replace(".", "/")).is_dir()]
    lines = [f"- [`{name}`]({name}.md): {_first_line(name)}" for name in packages]
    files.append(File.generated(config, "api/index.md", content="# Packages\n\n" + "\n".join(lines) + "\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links as they are on the site."""
    place = page.file.src_uri
    if place.startswith("api/"):
        return markdown
    origin = {site: path for path, site in beside().items()}.get(place, f"docs/{place}")
    parts = _CODE.split(markdown)
    return "".join(part if _CODE.fullmatch(part) else _relinked(part, origin, place) for part in parts)


def beside() -> dict[str, str]:
    """Where pages and pictures beside `docs/` stand on the site, by their path in the repository."""
    pages = {"README.md": "index.md"}
    for path in sorted([*ROOT.glob("*.md"), *(p for folder in BESIDE for p in (ROOT / folder).rglob("*"))]):
        if path.suffix in (".md", ".png", ".svg"):
            name = path.relative_to(ROOT).as_posix()
            pages.setdefault(name, f"project/{name}")
    return pages


def modules() -> Iterator[Path]:
    """Modules and packages of the library, but for private ones: `src/anytimenet/nets/contract`."""
    for path in sorted((ROOT / SOURCES).rglob("*.py")):
        module = path.parent if path.name == "__init__.py" else path.with_suffix("")
        if not any(part.startswith("_") for part in module.relative_to(ROOT).parts):
            yield module


def target_on_site(origin: str, target: str, place: str) -> str | None:
    """A link `target` in the file `origin`, both paths in the repository, as a link on the page `place`.

    None for a file that is no part of the site.

    Raises:
        FileNotFoundError: if the repository has no such file.

    >>> target_on_site("docs/tour.md", "../src/anytimenet/nets/contract.py", "tour.md")
    'api/anytimenet.nets.contract.md'
    >>> target_on_site("README.md", "docs/start.md", "index.md")
    'start.md'
    >>> target_on_site("docs/guides/choosing.md", "../../LICENSE", "guides/choosing.md") is None
    True
    """
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
    if not (ROOT / path).exists():
        raise FileNotFoundError(f"{origin} links to {target}, which is not there")
    if (ROOT / path / "README.md").is_file():
        path += "/README.md"
    if path.startswith("docs/"):
        site: str | None = path.removeprefix("docs/")
    elif path.startswith(SOURCES):
        module = path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        site = f"api/{module}.md"
    else:
        site = beside().get(path)
    return None if site is None else posixpath.relpath(site, posixpath.dirname(place) or ".")


def _relinked(text: str, origin: str, place: str) -> str:
    def replaced(link: re.Match[str]) -> str:
        label, target, anchor = link.groups()
        if "://" in target:
            return link[0]
        try:
            found = target_on_site(origin, target, place)
        except FileNotFoundError as error:
            _LOG.warning("%s", error)
            return link[0]
        if found is None:  # what the site does not have is named by its path, and leads nowhere
            words, path = label.strip("[]"), target.lstrip("./")
            return f"`{path}`" if words.strip("`") == path else f"{words} (`{path}`)"
        return f"{label}({found}{anchor or ''})"

    return _LINK.sub(replaced, text)


def _tree(folder: Path) -> list[dict[str, Any]]:
    """The navigation of one package: its own page, its modules, its packages."""
    inside = [module for module in modules() if module.parent == folder]
    name = ".".join(folder.relative_to(ROOT / "src").parts)
    entries: list[dict[str, Any]] = [{folder.name: f"api/{name}.md"}]
    for module in inside:
        entries.append(
            {module.name: _tree(module)} if module.is_dir() else {module.name: f"api/{name}.{module.name}.md"}
        )
    return entries


def _first_line(name: str) -> str:
    source = (ROOT / "src" / name.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    found = re.match(r'"""(.*?)(?:"""|\n)', source)
    return found[1] if found else ""
