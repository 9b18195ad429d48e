"""What an installation brings is what the code uses."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import anytimenet
from anytimenet.core.errors import MissingExtraError, require

ROOT = Path(__file__).resolve().parents[3]
# Names under which distributions are imported, where they differ.
MODULES = {
    "pillow": "PIL",
    "python-multipart": "python_multipart",
    "scikit-learn": "sklearn",
    "lightning-fabric": "lightning_fabric",
}
# For people who work on the code; no module of the package imports them.
TOOLS = {"dev", "docs"}


def project() -> dict[str, Any]:
    value: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return value


def used() -> set[str]:
    """Top-level modules that the package imports, by statement or by a name in a string."""
    found = set()
    for path in Path(anytimenet.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
                if node.module == "torch.utils.tensorboard":
                    found.add("tensorboard")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value.partition(".")[0])
    return found


def distributions(requirements: list[str]) -> set[str]:
    names = {re.findall(r"^[\w-]+", requirement)[0] for requirement in requirements}
    return names - {"anytimenet"}


@pytest.mark.parametrize("extra", [name for name in project()["optional-dependencies"] if name not in TOOLS])
def test_every_package_of_an_extra_is_used(extra):
    wanted = {MODULES.get(n, n) for n in distributions(project()["optional-dependencies"][extra])}
    # Nets of timm are what people wrap, by names that are theirs; uvicorn takes httptools where it is.
    unused = wanted - used() - {"timm", "httptools"}
    assert not unused


def test_all_is_every_extra_but_the_tools():
    extras = project()["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(re.findall(r"\w+", everything.partition("[")[2])) == set(extras) - TOOLS - {"all"}


def test_what_is_missing_is_named_with_a_command_that_works_today():
    with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[train\]' in a checkout"):
        require("no_such_module_anywhere", "train")


def test_every_page_installs_from_a_checkout():
    for page in (ROOT / "README.md", ROOT / "docs" / "start.md"):
        for line in page.read_text(encoding="utf-8").splitlines():
            if "pip install" in line:
                assert "-e '.[train]'" in line or ".whl" in line, line


def test_the_citation_is_of_this_version() -> None:
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {anytimenet.__version__}\n" in cited


def test_the_oldest_versions_that_are_tested_are_those_that_the_extras_allow() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    extras = project()["optional-dependencies"]
    for package, extra in (("torch", "train"), ("torchvision", "vision")):
        least = next(r.partition(">=")[2] for r in extras[extra] if r.startswith(f"{package}>="))
        assert f"{package}=={least}.*" in workflow
