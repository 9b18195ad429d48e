"""The programs in examples/native, under sanitizers: Python's answers, and no memory but their own."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.export import export
from anytimenet.export.native_host import HOST
from anytimenet.native import library
from anytimenet.runtime import ExportedNet
from anytimenet.testing.net_under_test import redraw

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "native"
SANITIZED = "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
NAMES = [[f"a thing {i}" for i in range(10)], ["living", "made", "neither", "both"]]

pytestmark = pytest.mark.slow
if not library.is_there():
    pytest.skip("no engine", allow_module_level=True)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both programs."""
    missing = [tool for tool in ("cmake", "cc", "c++") if shutil.which(tool) is None]
    if missing:
        assert os.environ.get("ANYTIMENET_REQUIRE_NATIVE") != "1", f"{missing} are not here"
        pytest.skip(f"{missing} are not here")
    folder = tmp_path_factory.mktemp("build")
    flags = [f"-DCMAKE_{kind}_FLAGS_RELEASE={SANITIZED}" for kind in ("C", "CXX")]
    for command in (
        ["cmake", "-S", str(EXAMPLE), "-B", str(folder), *flags],
        ["cmake", "--build", str(folder)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{EXAMPLE}" not in done.stderr, done.stderr  # no warning
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = create_net("isresnext_tiny", num_classes=(10, 4)).eval()
    redraw(net, torch.Generator().manual_seed(0))
    preprocessing = Preprocessing(16, 16, 3, (0.4, 0.5, 0.6), (0.2, 0.3, 0.1), "bicubic", 20)
    bundle = Bundle.create(net, class_names=NAMES, preprocessing=preprocessing)
    return export(bundle, tmp_path_factory.mktemp("exported") / "folder", format="native")


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert "Sanitizer" not in done.stderr, done.stderr
    assert "runtime error" not in done.stderr, done.stderr
    return done


def pictures(folder: Path) -> list[Path]:
    draw, found = np.random.default_rng(0), []
    for number, shape in enumerate([(40, 30, 3), (16, 16, 3), (9, 50, 3), (33, 21), (200, 310, 3), (1, 1)]):
        path = folder / f"{number}.{'ppm' if len(shape) == 3 else 'pgm'}"
        Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(path)
        found.append(path)
    return found


def test_labels_and_probabilities_are_those_of_python(build, exported, tmp_path):
    predictor = ExportedNet.load(exported).predictor()
    for picture in pictures(tmp_path):
        done = run(build / "predict", exported, picture)
        assert done.returncode == 0, done.stderr
        wanted = predictor.predict(picture)
        found = re.fullmatch(r"(.*) / (.*)  \((.*)%, stage (\d) of 3, .* ms\)\n", done.stdout)
        assert found is not None, done.stdout
        assert [found[1], found[2]] == list(wanted.labels)
        assert float(found[3]) == pytest.approx(100 * wanted.probability, abs=0.06)
        assert int(found[4]) == 3


def test_a_deadline_that_has_passed_is_answered_by_stage_1(build, exported, tmp_path):
    (picture, *_) = pictures(tmp_path)
    assert "stage 1 of 3" in run(build / "predict", exported, picture, 0).stdout
    assert "stage 3 of 3" in run(build / "predict", exported, picture, 60000).stdout


def test_the_best_validated_stage_answers(build, exported, tmp_path):
    (picture, *_) = pictures(tmp_path)
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    text = (folder / HOST).read_text()
    (folder / HOST).write_text(text.replace("answers 0 1 2 3", "answers 0 1 2 2"))
    assert "stage 2 of 3" in run(build / "predict", folder, picture).stdout


def test_the_camera_answers_every_period(build, exported):
    done = run(build / "camera", exported, 0.5)
    assert done.returncode == 0
    found = re.search(r"(\d+) frames answered, (\d+) skipped", done.stdout)
    assert found is not None
    assert int(found[1]) + int(found[2]) >= 15


def test_damaged_folders_are_refused(build, exported, tmp_path):
    (picture, *_) = pictures(tmp_path)
    lines = (exported / HOST).read_text().splitlines(keepends=True)
    changed = [lines[:place] + lines[place + 1 :] for place in range(len(lines))]
    changed += [[*lines, "colour red\n"], [*lines, lines[1]], [], ["anytimenet-host 2\n", *lines[1:]]]
    for word in ("-1", "1e30", "nan", "2147483648", ""):
        for place in (3, 5, 6, 7, 10, 11):
            changed.append([*lines[:place], f"{lines[place].split()[0]} {word}\n", *lines[place + 1 :]])
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    for number, own in enumerate(changed):
        (folder / HOST).write_text("".join(own))
        done = run(build / "predict", folder, picture)
        assert done.returncode == 1, (number, done.stdout)
    (folder / HOST).write_text("".join(lines))
    (folder / "program.bin").write_bytes((exported / "program.bin").read_bytes()[:-8])
    done = run(build / "predict", folder, picture)
    assert done.returncode == 1
    assert "cut off" in done.stderr or "longer than the file" in done.stderr


def test_damaged_texts_and_images_never_leave_their_memory(build, exported, tmp_path):
    draw = random.Random(0)
    (picture, *_) = pictures(tmp_path)
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    text, pixels, broken = (exported / HOST).read_bytes(), picture.read_bytes(), tmp_path / "broken.ppm"
    for _ in range(60):
        for data, path in ((text, folder / HOST), (pixels[:60], broken)):
            changed = bytearray(data)
            for _ in range(draw.randint(1, 4)):
                changed[draw.randrange(len(changed))] = draw.choice(b"0123456789 -.\n\x00\xff#ePi")
            path.write_bytes(changed[: draw.choice((len(changed), draw.randrange(len(changed))))])
        assert run(build / "predict", folder, picture).returncode in (0, 1)
        assert run(build / "predict", exported, broken).returncode in (0, 1)
    for content in (
        b"",
        b"P6",
        b"P6\n0 4\n255\n",
        b"P6\n9 9\n255\nabc",
        b"P6\n99999 99999\n255\n",
        b"P3\n1 1\n255\n0 0 0",
    ):
        broken.write_bytes(content)
        assert run(build / "predict", exported, broken).returncode == 1
    assert run(build / "predict").returncode == 2
    assert run(build / "camera").returncode == 2
