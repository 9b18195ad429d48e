"""Writes a generated page of this folder, or checks that it is what would be written."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(page: Path, text: str) -> None:
    """With `--check` on the command line exits with 1 unless `page` holds `text`; writes it otherwise."""
    script = f"docs/reference/generate_{page.stem}.py"
    if "--check" not in sys.argv[1:]:
        page.write_text(text, encoding="utf-8")
        print(f"{page} is written.")
    elif not page.exists() or page.read_text(encoding="utf-8") != text:
        sys.exit(f"{page} is not what the registry says: run python {script}")
