"""Pages that are written by a program are what it writes today."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from anytimenet.nets import list_nets
from anytimenet.schemes import list_schemes

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "names"),
    [("nets", list_nets("*resne?t_*")), ("schemes", list_schemes()), ("registered", []), ("flags", [])],
    ids=["nets", "schemes", "registered", "flags"],
)
def test_a_page_is_what_the_registry_says(page, names):
    # A process of its own: other tests register nets of theirs.
    command = [sys.executable, str(REFERENCE / f"generate_{page}.py"), "--check", "--quick"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    if names:
        text = (REFERENCE / f"{page}.md").read_text(encoding="utf-8")
        assert all(f"| `{name}` |" in text for name in names)


def test_a_page_that_says_something_else_is_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REFERENCE))
    write_or_check = importlib.import_module("page_file").write_or_check
    page = tmp_path / "nets.md"
    monkeypatch.setattr(sys, "argv", ["generate_nets.py"])
    write_or_check(page, "what the registry says")
    monkeypatch.setattr(sys, "argv", ["generate_nets.py", "--check"])
    write_or_check(page, "what the registry says")
    page.write_text("something else", encoding="utf-8")
    with pytest.raises(SystemExit, match="is not what the registry says"):
        write_or_check(page, "what the registry says")
