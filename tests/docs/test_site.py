"""The documentation site has every page, and every link of a page leads somewhere on it."""

from __future__ import annotations

import doctest
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_once(hooks: ModuleType) -> None:
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages |= {place for place in hooks.beside().values() if place.endswith(".md")}
    assert sorted(listed) == sorted(pages)


def test_links_become_those_of_the_site(hooks: ModuleType) -> None:
    assert doctest.testmod(hooks).failed == 0
    told = "[one](../src/anytimenet/nets) and [two](start.md#here), `[x](y)`, [a file](../LICENSE)\n"
    assert hooks._relinked(told.replace("`[x](y)`, ", ""), "docs/tour.md", "tour.md") == (
        "[one](api/anytimenet.nets.md) and [two](start.md#here), a file (`LICENSE`)\n"
    )


def test_a_link_to_nothing_is_found(hooks: ModuleType) -> None:
    with pytest.raises(FileNotFoundError, match=r"docs/tour\.md links to gone\.md"):
        hooks.target_on_site("docs/tour.md", "gone.md", "tour.md")


def test_the_tour_has_every_room_and_no_other() -> None:
    tour = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    rooms: list[str] = []
    for indent, name in re.findall(r"^( *)(\w+)/  ", tour, re.MULTILINE):
        rooms.append(f"{rooms[-1].partition('/')[0]}/{name}" if indent else name)
    source = ROOT / "src" / "anytimenet"
    packages = {path.parent.relative_to(source).as_posix() for path in source.glob("*/__init__.py")}
    packages |= {path.parent.relative_to(source).as_posix() for path in source.glob("*/*/__init__.py")}
    assert sorted(rooms) == sorted(packages)


def test_files_that_the_tour_names_are_there() -> None:
    tour = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+/[\w/]+(?:\.py|/))`", tour)
    source = ROOT / "src" / "anytimenet"
    assert len(named) > 20
    assert [name for name in named if not (source / name).exists() and not (ROOT / name).exists()] == []
