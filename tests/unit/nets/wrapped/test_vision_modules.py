"""A torchvision that was built for another torch is imported after its two operators are declared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ASKS = """
import warnings
from anytimenet.nets.wrapped.adapters.vision_modules import vision_module

for _ in range(2):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            print(vision_module("timm").NAME, *[w.category.__name__ for w in caught])
        except Exception as error:
            print(type(error).__name__, error)
"""
USES_OPERATORS = """
import torch

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets

@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold):
    return dets
"""


def test_missing_operators_are_declared_once_and_with_a_warning(tmp_path):
    assert answers(tmp_path, USES_OPERATORS) == ["timm UserWarning", "timm"]


def test_any_other_error_passes_through(tmp_path):
    first, second = answers(tmp_path, "raise RuntimeError('operator torchvision::roi does not exist')")
    assert first == second
    assert first.startswith("MissingExtraError")
    assert "operator torchvision::roi does not exist" in first


def test_what_is_not_installed_is_said_with_the_extra(tmp_path):
    (tmp_path / "torchvision.py").write_text("import no_such_module", encoding="utf-8")
    (tmp_path / "timm.py").write_text("import torchvision", encoding="utf-8")
    assert "[vision]" in run(tmp_path)[0]


def answers(folder: Path, torchvision: str) -> list[str]:
    """What is said when a timm is imported that imports this torchvision."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text("from torchvision import inner", encoding="utf-8")
    (folder / "torchvision" / "inner.py").write_text(torchvision, encoding="utf-8")
    (folder / "timm.py").write_text("import torchvision\nNAME = 'timm'", encoding="utf-8")
    return run(folder)


def run(folder: Path) -> list[str]:
    # A process of its own: operators are declared for the whole process, and for good.
    script = f"import sys; sys.path.insert(0, {str(folder)!r})\n{ASKS}"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()
