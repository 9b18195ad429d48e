"""What every test starts from: one torch thread, no cache of the user's, no colour."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded images go to a folder of this test run, never to the user's cache."""
    monkeypatch.setenv("ANYTIMENET_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def shared_data() -> Path:
    """The folder of real images beside a checkout; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "cifar10.zip").exists():
        pytest.skip(f"the real images are not beside this checkout ({folder})")
    return folder
