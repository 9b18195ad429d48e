"""An exported net answers images, also under deadlines, where there is no PyTorch."""

import json
import subprocess
import sys

import pytest
from PIL import Image

import anytimenet as an
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.export import export

SCRIPT = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "onnx", "onnxscript", "sklearn", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
from anytimenet.runtime.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def without_torch(*arguments):
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def bundle():
    net = an.create_net("isresnext_tiny", num_classes=10, in_channels=1).eval()
    names = [[str(digit) for digit in range(10)]]
    grey = Preprocessing(8, 8, 1, (0.5,), (0.5,))
    return an.Bundle.create(net, class_names=names, preprocessing=grey, val_accuracies=[0.5, 0.6, 0.7])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    for number, image in enumerate(an.load_data("digits").test.images[:3]):
        Image.fromarray(image.squeeze()).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def exported(bundle, tmp_path_factory):
    return export(bundle, tmp_path_factory.mktemp("export") / "net")


def test_labels_are_those_of_the_bundle_at_every_stage(bundle, exported, images):
    for stage in (1, 3):
        done = without_torch("predict", exported, images, "--stage", stage, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        expected = [bundle.predict(image["image"], stage=stage) for image in answers]
        assert [a["label"] for a in answers] == [e.label for e in expected]
        probabilities = [e.probability for e in expected]
        assert [a["probability"] for a in answers] == pytest.approx(probabilities, abs=1e-5)


def test_a_deadline_needs_a_profile_and_is_then_kept_or_told_to_be_late(exported, images):
    done = without_torch("predict", exported, images / "0.png", "--deadline-ms", 5)
    assert done.returncode == 1
    assert "python -m anytimenet.runtime profile EXPORT` and --backend onnxruntime" in done.stderr
    assert done.stderr.startswith("anytimenet.runtime: --deadline-ms needs latencies")
    assert "an.profile" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert without_torch("profile", exported, "--minutes", 0.02).returncode == 0
    done = without_torch("predict", exported, images, "--deadline-ms", 100_000, "--json")
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == [[[0, 3]]] * 3
    done = without_torch("predict", exported, images / "0.png", "--deadline-ms", 0, "--json")
    assert (json.loads(done.stdout)["late"], json.loads(done.stdout)["stage"]) == (True, 1)


def test_a_bad_image_is_named_and_the_others_are_answered(exported, images, tmp_path):
    (tmp_path / "cut.png").write_bytes((images / "0.png").read_bytes()[:40])
    done = without_torch("predict", exported, tmp_path / "cut.png", images / "1.png", "--json")
    assert done.returncode == 1
    bad, good = (json.loads(line) for line in done.stdout.splitlines())
    assert "cut.png" in bad["error"]
    assert good["label"]
    assert done.stderr.splitlines() == [
        "anytimenet.runtime: 1 of 2 images could not be predicted: remove or replace them"
    ]
    done = without_torch("predict", tmp_path, images / "1.png")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    done = without_torch("predict", exported, images / "1.png", "--stage", 9)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
