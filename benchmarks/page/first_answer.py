"""When a static site of the page first answers, over connections as slow as page audits take them.

    python benchmarks/page/first_answer.py SITE [--rounds 3] [--out RESULTS]

SITE is what `anytimenet page` wrote. The browser's tests must be installed (`make page-tools`). Writes
`results/page-first-answer/<commit>-<machine>.json`: of each connection the run in the middle. One line is
shared by all requests, the samples and the weights of later stages among them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from history import commit, place

NAME = "page-first-answer"
HERE = Path(__file__).parent


def measure(site: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for each connection: `ms` to the first answer, and `bytes` that had come by then.

    Args:
        site: a folder of `anytimenet page`.
        rounds: of which the one in the middle counts.

    Raises:
        ValueError: without Node, or if the folder is no site.
    """
    node = shutil.which("node")
    if node is None or not (site / "index.html").is_file():
        raise ValueError(f"Node and a site of `anytimenet page` are needed, and {site} or Node is none")
    command = [node, str(HERE / "first_answer.mjs"), str(site.resolve()), str(rounds)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows: list[dict[str, Any]] = json.loads(found)
    return [{**row, "ms": round(row["ms"])} for row in rows]


def main() -> None:
    """Measures, prints and writes."""
    from anytimenet.core.files.writing import write_json
    from anytimenet.core.manifest.machine import machine_stamp

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    rows, stamp = measure(options.site, options.rounds), machine_stamp({})
    for row in rows:
        print(f"{row['what']:32} {row['ms'] / 1000:6.1f} s  {row['bytes']:,} bytes")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    head = {"benchmark": "page/first_answer", "commit": commit(), "measured": now, "machine": stamp}
    path = place(options.out, NAME, head["commit"], stamp["id"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**head, "rows": rows})


if __name__ == "__main__":
    main()
