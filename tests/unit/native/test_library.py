"""The shared library: it is there where it must be, and it was built from the sources that lie here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import resources

import pytest

from anytimenet.core.errors import BackendError
from anytimenet.native import library


def test_the_engine_loads_where_it_is_required():
    if os.environ.get("ANYTIMENET_REQUIRE_NATIVE") == "1":
        assert library.is_there(), library.MISSING
    if library.is_there():
        assert library.instruction_sets()


@pytest.mark.skipif(not library.is_there(), reason="no engine")
def test_the_library_was_built_from_the_sources_that_lie_here():
    assert library.built_from() == library.sources_digest(), (
        "the engine's sources have changed since it was built, and an editable installation does not rebuild "
        "it: pip install -e . again, or make native"
    )


def test_where_no_library_is_the_error_says_what_would_help(tmp_path, monkeypatch):
    monkeypatch.setattr(library.resources, "files", lambda package: tmp_path)
    library.library.cache_clear()
    try:
        assert not library.is_there()
        with pytest.raises(BackendError, match="install GCC 12 or Clang and reinstall"):
            library.library()
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib" / library.NAMES[0]).write_bytes(b"no library")
        with pytest.raises(BackendError, match="cannot be loaded"):
            library.library()
    finally:
        library.library.cache_clear()


def test_kernels_share_no_name_with_the_code_around_them():
    """A function that the linker shares could be the copy that this machine cannot run."""
    sources = resources.files("anytimenet.native") / "src"
    parts = {f"kernels/{file.name}" for file in (sources / "kernels").iterdir()}
    units = {file.name for file in sources.iterdir() if file.name.startswith("kernels_")}
    assert parts
    assert units
    for name in ("kernels.h", "kernels.inc", *units, *parts):
        text = (sources / name).read_text()
        allowed = {"kernels.inc": {"kernels.h", *parts}} | {
            unit: {"kernels.h", "kernels.inc"} for unit in units
        }
        assert set(re.findall(r'#include\s+["<](.*?)[">]', text)) <= allowed.get(name, set()), name
        assert "std::" not in text, name


def test_the_engine_needs_no_torch():
    code = "import sys, anytimenet.runtime.backends.native; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
