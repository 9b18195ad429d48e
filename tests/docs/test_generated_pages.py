"""Pages that are written by a program are what it writes today."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from anytimenet.nets import list_nets

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"


@pytest.mark.slow
def test_the_page_of_nets_is_what_the_registry_says():
    # A process of its own: other tests register nets of theirs.
    command = [sys.executable, str(REFERENCE / "generate_nets.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    page = (REFERENCE / "nets.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in list_nets("*resne?t_*"))


def test_a_page_that_says_something_else_is_found(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("generate_nets", REFERENCE / "generate_nets.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    monkeypatch.setattr(generate, "PAGE", tmp_path / "nets.md")
    monkeypatch.setattr(generate, "page", lambda: "what the registry says")
    monkeypatch.setattr(sys, "argv", ["generate_nets.py"])
    generate.main()
    monkeypatch.setattr(sys, "argv", ["generate_nets.py", "--check"])
    generate.main()
    (tmp_path / "nets.md").write_text("something else", encoding="utf-8")
    with pytest.raises(SystemExit, match="is not what the registry says"):
        generate.main()
