"""Every Python block and every `anytimenet` command of README and docs runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anytimenet.cli.main import run
from anytimenet.runtime.cli.main import run as run_on_device

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ON_DEVICES = ["python", "-m", "anytimenet.runtime"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")


def blocks(page: Path, language: str) -> list[str]:
    return [code for found, code in BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reader works: own folders with pictures of cats and dogs, and of streets, or nearly so."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 5)):
        for name, low in (("cat", 0), ("dog", 100)):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(low, low + 120, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    for split in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (tmp_path / "streets" / split / kind).mkdir(parents=True)
        for i in range(8):
            mask = np.repeat(rng.integers(0, 3, 40, dtype=np.uint8)[:, None], 48, axis=1)
            Image.fromarray(mask).save(tmp_path / "streets" / split / "masks" / f"{i}.png")
            pixels = np.repeat(mask[:, :, None] * 60, 3, axis=2)
            Image.fromarray(pixels).save(tmp_path / "streets" / split / "images" / f"{i}.png")
    (tmp_path / "streets" / "classes.json").write_text(
        '{"class_names": ["road", "sky", "void"], "ignore_index": 2}'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python") or blocks(p, "bash")], ids=name_of)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, user_folder, capsys):
    names: dict[str, object] = {"__name__": "__main__"}
    for language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(code, str(page), "exec"), names)
        elif language == "bash":
            for line in code.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:3] == ON_DEVICES:
                    assert run_on_device(words[3:]) == 0, f"{line}\n{capsys.readouterr().err}"
                elif words:
                    assert words[0] == "anytimenet", f"{line}: indent commands that a test cannot run"
                    assert run(words[1:]) == 0, f"{line}\n{capsys.readouterr().err}"


def test_the_code_for_timm_runs_where_timm_is(torchvision, user_folder):
    """It says "py", so that the test above leaves it alone."""
    pytest.importorskip("timm")
    names: dict[str, object] = {}
    exec("import anytimenet as an", names)
    for code in blocks(ROOT / "docs" / "guides" / "add_exits.md", "py"):
        exec(compile(code, "add_exits.md", "exec"), names)
    assert (user_folder / "mine-anytime" / "bundle.json").exists()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page):
    for target in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


def test_the_readmes_output_is_what_its_code_prints(user_folder, capsys):
    code, printed = (blocks(ROOT / "README.md", language)[0] for language in ("python", "text"))
    exec(compile(code, "README.md", "exec"), {})
    ours, shown = capsys.readouterr().out.splitlines(), printed.splitlines()
    # Accuracies depend on the processor's rounding; everything that is counted does not.
    assert ours[0] == shown[0]
    assert [line.split()[:5] for line in ours[1:5]] == [line.split()[:5] for line in shown[1:5]]
    assert len(ours) == len(shown)
    assert [line.split(":")[0] for line in ours[5:]] == [line.split(":")[0] for line in shown[5:]]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_no_page_holds_both_sides_of_a_merge(page):
    assert not re.search(r"^(<{7} |={7}$|>{7} )", page.read_text(encoding="utf-8"), re.MULTILINE)
