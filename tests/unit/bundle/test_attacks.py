"""The hostile files of examples/attacks do what their README says: nothing, in little time and memory."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import anytimenet as an
from anytimenet.core.errors import BundleError, DataError
from anytimenet.core.images.decoding import open_image
from anytimenet.core.images.preprocessing import Preprocessing

ATTACKS = Path(__file__).parents[3] / "examples" / "attacks"
LOADED = ("fetches", "reads_and_writes_elsewhere")
"""Bundles that are whole, and whose notes are not followed."""
sys.path.insert(0, str(ATTACKS))
try:
    images, bundles, making = map(importlib.import_module, ("hostile_images", "hostile_bundles", "make"))
finally:
    sys.path.remove(str(ATTACKS))

OPENING = """
import sys
from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
for shorter_side in (256, None):
    try:
        Preprocessing(224, 224, 3, (0.5,) * 3, (0.5,) * 3, shorter_side=shorter_side).decode(sys.argv[1])
    except DataError:
        pass
# Not ru_maxrss, which a child inherits from who started it.
with open("/proc/self/status") as status:
    (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM"))
print(int(peak) >> 10)
"""


@pytest.fixture(scope="module")
def true(tmp_path_factory) -> Path:
    path: Path = bundles.true_bundle(tmp_path_factory.mktemp("true") / "bundle")
    return path


@pytest.mark.parametrize("name", images.IMAGES)
def test_hostile_images_are_small_and_harmless(tmp_path, monkeypatch, name):
    def started(*arguments, **options):
        raise AssertionError("a program was started")

    path = tmp_path / name
    path.write_bytes(images.IMAGES[name]() if name != "deep.png" else images.deep_png(900, 900))
    assert path.stat().st_size < 2**20
    monkeypatch.setattr(subprocess, "Popen", started)
    try:
        assert open_image(path).mode in ("L", "RGB")
        Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3).decode(path)
    except DataError as error:
        reason = str(error)
        assert "thin" in reason or str(path) in reason


@pytest.mark.parametrize("name", ["deep.png", "thin.png"])
def test_the_largest_of_them_stay_within_the_memory(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(images.IMAGES[name]())
    told = subprocess.run([sys.executable, "-c", OPENING, path], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 1500  # MiB


@pytest.mark.parametrize("name", [name for name in bundles.BUNDLES if name not in LOADED])
def test_hostile_bundles_are_refused(tmp_path, true, name):
    folder = making.hostile(true, tmp_path / "bundle", name)
    with pytest.raises(BundleError, match="bundle"):
        an.load(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


@pytest.mark.parametrize("name", LOADED)
def test_what_a_bundle_says_of_its_data_is_not_followed(tmp_path, true, name, monkeypatch):
    def fetched(*arguments, **options):
        raise AssertionError("something was fetched")

    monkeypatch.setattr("urllib.request.urlopen", fetched)
    bundle = an.load(making.hostile(true, tmp_path / "bundle", name))
    assert bundle.predict(np.zeros((8, 8), np.uint8)).label in ("a", "b")
    for judge in (an.evaluate, an.reestimate):
        with pytest.raises(DataError):
            judge(bundle)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_the_page_lists_every_attack():
    assert making.table() in (ATTACKS / "README.md").read_text(encoding="utf-8")
