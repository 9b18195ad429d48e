"""What every test starts from: one torch thread, few examples of a property, no user's cache, no colour."""

from __future__ import annotations

import gc
import importlib.util
import os
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tests.examples import register_profiles

from anytimenet.nets import registry

torch.set_num_threads(1)
register_profiles()
gc.disable()  # until the tests begin: a fifth of the time of finding them, and they stay anyway


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m vision` reads the files that say "torchvision" and no other: to collect all takes half a minute."""
    if config.option.markexpr != "vision" or collection_path.suffix != ".py":
        return None
    return True if "torchvision" not in collection_path.read_text(encoding="utf-8") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks for torchvision is marked, so that `make test` can run it where torchvision is."""
    for item in items:
        if "torchvision" in getattr(item, "fixturenames", ()):
            item.add_marker("vision")
            if "torchvision" not in item.path.read_text(encoding="utf-8"):  # no other run would find it
                raise pytest.UsageError(f'{item.path} asks for torchvision: say "torchvision" in that file')


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Tests begin, also in the process that only hands them out.

    What is there stays: PyTorch, ten thousand tests, half a million objects. To look through them again and
    again, and through new ones after every 700, was a tenth of the time of the tests.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded images go to a folder of this test run, never to the user's cache.

    Processes that share a run share it: what one has decoded or lowered, the other needs not.
    """
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    monkeypatch.setenv("ANYTIMENET_CACHE", str(folder / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nets that a test registers are gone after it."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


@pytest.fixture
def shared_data() -> Path:
    """The folder of real images beside a checkout; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "cifar10.zip").exists():
        pytest.skip(f"the real images are not beside this checkout ({folder})")
    return folder


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision; tests that need it are skipped where it is not installed.

    Its warning, that it was built for another torch, is wanted but no failure.
    """
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed (extra vision)")
    from anytimenet.data.augment import resizing
    from anytimenet.nets.wrapped.adapters.vision_modules import vision_module

    resizing._torchvision_error.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return vision_module("torchvision")
