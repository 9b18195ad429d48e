"""What imports what: `import anytimenet` is light, and the arrows of the design point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import anytimenet

SOURCE = Path(anytimenet.__file__).parent
EVERYTHING = {path.stem if path.is_file() else path.name for path in SOURCE.iterdir()} - {"__pycache__"}

# Room: the rooms that it may import. A room that is missing here fails the test.
ARROWS = {
    "core": set(),
    "layers": {"core"},
    "nets": {"layers", "core"},
    "costs": {"runtime", "layers", "nets", "core"},
    "schemes": {"nets", "core"},
    "tasks": {"core"},
    "data": {"core"},
    "evaluation": {"core"},
    "training": {"layers", "nets", "schemes", "tasks", "data", "evaluation", "costs", "core"},
    "native": {"core"},
    "runtime": {"core", "native"},
    "bundle": {"runtime", "layers", "nets", "costs", "core"},
    "export": {"bundle", "runtime", "layers", "nets", "costs", "core", "native"},
    "serving": {"runtime", "native", "core"},
    "testing": {"runtime", "nets", "layers", "costs", "core"},
    "workflows": {
        *("bundle", "core", "costs", "data", "evaluation", "export", "nets", "runtime", "schemes", "tasks"),
        "training",
    },
    "recipes": {"workflows", "bundle", "core", "data", "evaluation", "nets", "schemes", "training"},
    "cli": EVERYTHING,
    "__init__": EVERYTHING,
    "__main__": EVERYTHING,
}

# Within a room, which of its sub-rooms each may import; "." are the files that lie in the room itself. Its
# __init__ re-exports, and may import all of them.
INSIDE = {
    "bundle/.": set(),
    "bundle/backends": {"."},
    "core/.": set(),
    "core/answers": {"."},
    "core/delivery": {".", "files", "manifest"},
    "core/files": {"."},
    "core/images": {".", "files"},
    "core/labels": {"."},
    "core/manifest": {".", "answers", "files", "images", "labels"},
    "data/.": {"sets", "sources"},
    "data/augment": set(),
    "data/batches": {"augment", "reading", "sets"},
    "data/reading": {"sets"},
    "data/sets": {"reading"},
    "data/sources": {"reading", "sets"},
    "evaluation/curves": set(),
    "evaluation/plots": {"curves", "reports", "text"},
    "evaluation/protocols": {"curves", "reports", "scores", "text"},
    "evaluation/reports": {"curves", "scores", "text"},
    "evaluation/scores": set(),
    "evaluation/text": set(),
    "export/.": {"operators"},
    "export/operators": {"."},
    "layers/.": set(),
    "layers/heads": {"."},
    "nets/.": {"members", "pretrained"},
    "nets/chain": {"."},
    "nets/depth": {".", "chain", "pretrained"},
    "nets/fixed": {".", "width"},
    "nets/members": {".", "chain", "depth"},
    "nets/pretrained": {"."},
    "nets/slices": {"."},
    "nets/width": {"."},
    "nets/wrapped": {".", "chain", "depth", "members", "pretrained"},
    "runtime/.": {"backends", "batches", "cli", "planning", "policies"},
    "runtime/batches": {".", "backends", "policies"},
    "runtime/backends": {"."},
    "runtime/delivery": {".", "backends", "exported"},
    "runtime/exported": {".", "backends", "policies"},
    "runtime/planning": {"."},
    "runtime/policies": {"backends"},
    "runtime/profiling": {"backends", "exported"},
    "runtime/cli": {"backends", "delivery", "exported", "profiling"},
    "runtime/streams": {"."},
    "serving/.": {"http", "scheduling"},  # ray_app reads requests as the server of one machine does
    "serving/client": set(),
    "serving/http": {"."},
    "serving/scheduling": {"."},
    "serving/simulation": {".", "scheduling"},
    "schemes/.": {"gradients", "targets", "weighting"},
    "schemes/gradients": {"."},
    "schemes/targets": {"."},
    "schemes/weighting": {"."},
}

# Rooms that an edge device has: nothing in them may need torch, not even inside a function.
TORCH_FREE = {"core", "evaluation", "native", "runtime", "serving"}


def imports(path: Path, *, typing_too: bool = True) -> set[str]:
    """Dotted names that a file imports, at any depth of nesting."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                skipped |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files() -> list[tuple[str, Path]]:
    return [(path.relative_to(SOURCE).parts[0].removesuffix(".py"), path) for path in SOURCE.rglob("*.py")]


@pytest.mark.parametrize("room", sorted({room for room, _ in files()}))
def test_a_room_imports_only_the_rooms_that_the_design_allows(room):
    assert room in ARROWS, f"say in the design and here what {room} may import"
    for owner, path in files():
        if owner != room:
            continue
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "anytimenet" and len(parts) > 1 and parts[1] in EVERYTHING - {room}:
                assert parts[1] in ARROWS[room], f"{path.relative_to(SOURCE)} imports {name}"


def modules() -> dict[str, Path]:
    """Every module by its dotted name within the package; a package goes by its own."""
    parts = {path: path.relative_to(SOURCE).with_suffix("").parts for path in SOURCE.rglob("*.py")}
    return {".".join(name[:-1] if name[-1] == "__init__" else name): path for path, name in parts.items()}


def imported_modules(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports; `from package import name` is of the file it names."""
    found = set()
    for name in imports(path):
        name = name.removeprefix("anytimenet.") if name.startswith("anytimenet.") else ""
        while name and name not in known:
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {""}


def sub_room(path: Path) -> tuple[str, str]:
    parts = path.relative_to(SOURCE).parts
    return parts[0], parts[1] if len(parts) > 2 else "."


def test_a_sub_room_imports_only_those_that_the_design_allows():
    known = modules()
    with_sub_rooms = {room for room, inner in map(sub_room, known.values()) if inner != "."}
    for path in known.values():
        room, inner = sub_room(path)
        if room not in with_sub_rooms or (inner == "." and path.name == "__init__.py"):
            continue
        assert f"{room}/{inner}" in INSIDE, f"say here what {room}/{inner} may import"
        for name in imported_modules(path, known):
            other, target = sub_room(known[name])
            if other == room and target != inner:
                assert target in INSIDE[f"{room}/{inner}"], f"{path.relative_to(SOURCE)} imports {name}"


def test_no_imports_run_in_a_loop_not_even_for_types():
    known = modules()
    graph = {name: imported_modules(path, known) - {name} for name, path in known.items()}

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        left = [start]
        while left:
            new = graph[left.pop()] - found
            found |= new
            left += new
        return found

    reach = {name: reached(name) for name in graph}
    loops = {tuple(sorted(b for b in reach[a] if a in reach[b])) for a in graph if a in reach[a]}
    assert not loops


@pytest.mark.parametrize("room", sorted(TORCH_FREE))
def test_torch_free_rooms_never_import_torch(room):
    for owner, path in files():
        if owner == room:
            names = imports(path, typing_too=False)
            assert not [
                n for n in names if n.split(".")[0] in {"torch", "torchvision", "lightning_fabric"}
            ], path


def test_core_code_never_imports_torchvision():
    assert not [path for _, path in files() if any(n.startswith("torchvision") for n in imports(path))]


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_and_the_torch_free_rooms_loads_no_torch():
    out = run_python(
        "import sys, anytimenet, anytimenet.core.manifest.manifest, anytimenet.evaluation\n"
        "anytimenet.Manifest, anytimenet.Curve, anytimenet.Prediction\n"
        "print([m for m in ('torch', 'matplotlib', 'sklearn', 'tyro') if m in sys.modules])"
    )
    assert out.strip() == "[]"


def test_a_name_that_needs_torch_says_which_extra_to_install():
    out = run_python(
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
        "sys.meta_path.insert(0, Block())\n"
        "import anytimenet\n"
        "try:\n"
        "    anytimenet.create_net\n"
        "except ImportError as error:\n"
        "    print(error)\n"
        "from anytimenet.cli.main import run\n"
        "print(run(['profile', 'nowhere']))"
    )
    assert "anytimenet.create_net needs torch, which is not installed: pip install -e '.[train]' in" in out
    assert out.strip().endswith("1")


def test_every_public_name_resolves_and_unknown_ones_do_not():
    for name in anytimenet.__all__:
        assert getattr(anytimenet, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'creat_net'"):
        anytimenet.creat_net  # noqa: B018
