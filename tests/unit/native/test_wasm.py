"""The engine in WebAssembly: built from these sources, small, and with the numbers of eager PyTorch."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
import shutil
import struct
import subprocess

import numpy as np
import pytest
import torch
from tests.browser.tools import REPOSITORY, WEB, in_browser, node, run_script, serve
from tests.unit.native import test_hostile_programs as hostile
from tests.unit.runtime.backends.test_native import FAMILIES, exported

from anytimenet import create_net
from anytimenet.native.library import sources_digest
from anytimenet.testing.net_under_test import redraw

LARGEST, LARGEST_COMPRESSED = 150_000, 64_000
"""Bytes of what a page loads beside the weights before the first answer."""
TOOLS = "3.1.6"
"""The release of emscripten that the committed build is of."""


def test_the_committed_build_is_of_the_sources_that_lie_here():
    assert sources_digest().encode() in (WEB / "engine.wasm").read_bytes(), (
        "the engine's sources have changed since engine.wasm was built: make wasm"
    )


def needed() -> set[str]:
    """The engine, the module that pages import, its Worker, and what either imports before it runs."""
    found, new = {"engine.wasm"}, {"anytimenet.js", "worker.js"}
    while new:
        name = new.pop()
        found.add(name)
        imports = re.findall(r'^import .* from "\./(.*)";$', (WEB / name).read_text(), re.MULTILINE)
        new |= {*imports} - found
    return found


def test_a_page_loads_little_beside_the_weights_before_the_first_answer():
    files = [(WEB / name).read_bytes() for name in needed()]
    assert len(files) == 6
    assert sum(map(len, files)) <= LARGEST
    assert sum(len(gzip.compress(data)) for data in files) <= LARGEST_COMPRESSED


@pytest.mark.slow
def test_another_build_gives_the_same_bytes(tmp_path):
    tool = shutil.which("em++")
    if tool is None:
        if os.environ.get("ANYTIMENET_REQUIRE_WASM") == "1":
            pytest.fail("em++ is needed and not here")
        pytest.skip("em++ is not here")
    version = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
    if f" {TOOLS} " not in version:
        pytest.skip(f"the committed build is of emscripten {TOOLS}")
    built = tmp_path / "engine.wasm"
    subprocess.run(["sh", str(WEB / "build.sh"), str(built)], check=True, capture_output=True)
    assert built.read_bytes() == (WEB / "engine.wasm").read_bytes(), "make wasm"


def test_hashes_are_those_of_the_standard():
    counts = [*range(140), 1000, 65536, 100_003]
    wanted = [hashlib.sha256(bytes([count % 256]) * count).hexdigest() for count in counts]
    assert run_script("hash_bytes.mjs", given=counts) == wanted


_LIKE_OTHERS = ("exits_after", "doubling_width_tiny", "doubling_both_tiny")
"""Forms whose programs are made of what other forms of their family have; the native engine runs them too."""
LOWERED = [
    *(form for form in FAMILIES if not any(word in str(form) for word in _LIKE_OTHERS)),
    ("efficientnet_lite0", {"num_classes": 20}),
]
"""Every family that is lowered."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """For each net its logits by eager PyTorch, and what one process of Node found on all paths."""
    node()
    cases, wanted = [], []
    for number, (name, arguments) in enumerate(LOWERED):
        side = 64 if name == "efficientnet_lite0" else 16 if "exits" in name else 8
        net = create_net(name, **arguments).eval()
        redraw(net, torch.Generator().manual_seed(number))
        folder = tmp_path_factory.mktemp("program") / "folder"
        exported(net, folder, side)
        x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(number))
        with torch.no_grad():
            outputs = net(x)
        wanted.append([np.concatenate([level[0].numpy() for level in output]) for output in outputs])
        shards = sorted(file.name for file in folder.glob("*.safetensors"))
        cases.append({"folder": str(folder), "shards": shards, "x": x.flatten().tolist()})
    return list(zip(run_script("run_programs.mjs", given=cases), wanted, strict=True))


def near(found, wanted) -> bool:
    return bool(np.abs(np.array(found) - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("number", range(len(LOWERED)), ids=lambda i: f"{LOWERED[i][0]}-{i}")
def test_every_path_gives_the_numbers_of_eager_pytorch(ran, number):
    found, wanted = ran[number]
    steps = found["steps"]
    assert [step["stage"] for step in steps] == list(range(1, len(wanted) + 1))
    for step, logits in zip(steps, wanted, strict=True):
        assert near(step["output"], logits)
    assert [jump["output"] for jump in found["jumps"]] == [step["output"] for step in steps]
    for resumed in found["resumed"]:
        assert resumed["output"] == steps[-1]["output"]


@pytest.mark.parametrize("number", range(len(LOWERED)), ids=lambda i: f"{LOWERED[i][0]}-{i}")
def test_a_run_that_is_stopped_anywhere_keeps_its_stages_and_can_go_on(ran, number):
    found, _ = ran[number]
    steps = found["steps"]
    assert found["stopped"], "no block ends"
    for stopped in found["stopped"]:
        assert stopped["end"] == "cancelled"
        assert stopped["answered"] <= stopped["stage"]
        if stopped["answered"]:
            assert stopped["output"] == steps[stopped["answered"] - 1]["output"]
        assert stopped["goneOn"]["output"] == steps[-1]["output"]
    overdue = found["overdue"]
    assert overdue["stage"] == 1 or len(steps) == 1
    assert overdue["end"] == ("deadline" if len(steps) > 1 else "whole")


def test_what_is_cut_off_or_changed_is_refused_and_never_traps():
    words, size = hostile.WORDS, len(hostile.BYTES)
    changes: list[dict] = [{"size": cut} for cut in range(0, size, 7)]
    cuts = len(changes)
    draw = np.random.default_rng(0)
    for word in hostile.HUGE:
        changes += [{"words": [[place, word]]} for place in range(words)]
    for _ in range(3000):
        some = draw.integers(1, 4)
        changes.append(
            {"words": [[int(draw.integers(words)), int(draw.integers(-2, 21))] for _ in range(some)]}
        )
    shards = [[0], [4], [len(hostile.SHARD) - 4], [len(hostile.SHARD)] * 2]
    changes += [{"shards": one} for one in shards]
    given = {
        "program": base64.b64encode(hostile.BYTES).decode(),
        "shard": base64.b64encode(hostile.SHARD).decode(),
        "changes": [{}, *changes],
    }
    report = run_script("load_changed.mjs", given=given)
    first, *found = report["found"]
    assert first == "ran"
    assert all("refuses the program" in one for one in [*found[:cuts], *found[-len(shards) :]])
    assert sum(one == "ran" for one in found) < len(found) // 2
    assert report["memory"] < 2**31


def test_what_was_closed_or_is_of_another_engine_is_refused():
    given = {
        "program": base64.b64encode(hostile.BYTES).decode(),
        "shard": base64.b64encode(hostile.SHARD).decode(),
    }
    report = run_script("use_closed.mjs", given=given)
    *closed, late, spent, foreign, unrelated = report["found"]
    assert all("it was closed" in said for said in closed), closed
    assert all("extended from its own" in said for said in (late, spent, foreign, unrelated))
    assert report["ran"] == 1


def test_weights_that_are_not_finite_are_refused():
    for bad in (float("nan"), float("inf")):
        shard = struct.pack("<f", bad) * (len(hostile.SHARD) // 4)
        given = {
            "program": base64.b64encode(hostile.BYTES).decode(),
            "shard": base64.b64encode(shard).decode(),
            "changes": [{}],
        }
        (found,) = run_script("load_changed.mjs", given=given)["found"]
        assert "not finite" in found


def test_the_engine_runs_in_a_page(tmp_path):
    net = create_net("isresnext_tiny").eval()
    redraw(net, torch.Generator().manual_seed(0))
    exported(net, tmp_path / "net")
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = net(x)[-1][0][0].numpy()
    folders = {"web": WEB, "net": tmp_path / "net", "pages": REPOSITORY / "tests" / "browser" / "pages"}
    with serve(folders) as served:
        found = in_browser("engine_in_page.mjs", served.url, given={"x": x.flatten().tolist()})
    assert near(found, wanted)
