"""Which engine `anytimenet serve` takes where none is named, and whether it knows its times."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.cli.serve import Serve
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.runtime import Model, Placement
from anytimenet.runtime.backends.preferred import native_runs_at
from anytimenet.workflows import profile


def bundle_in(folder: Path) -> Bundle:
    torch.manual_seed(0)
    net = create_net("isresnext_tiny", 10, in_channels=1)
    look = Preprocessing(16, 16, 1, (0.5,), (0.5,))
    bundle = Bundle.create(net, class_names=[[str(at) for at in range(10)]], preprocessing=look)
    bundle.save(folder)
    return bundle


def served(folder: Path, backend: str | None = None) -> tuple[Model, CostTable | None]:
    return Serve((str(folder),), backend=backend)._source(str(folder)).load(folder)


@pytest.mark.parametrize("backend", ["eager", "native"])
def test_a_bundle_is_served_on_what_it_was_profiled_with(tmp_path: Path, backend: str) -> None:
    """It need not be measured again when the server starts: `profile` has kept the times."""
    if backend == "native" and (reason := native_runs_at(Placement())):
        pytest.skip(reason)
    bundle = bundle_in(tmp_path / "net")
    profile(bundle, minutes=0.01, backend=backend, device="cpu")
    bundle.save(tmp_path / "net")
    model, table = served(tmp_path / "net")
    assert model.backend.name == backend
    assert table is not None
    assert table.backend == backend


def test_a_bundle_that_was_not_profiled_is_served_by_the_native_engine_where_there_is_one(
    tmp_path: Path,
) -> None:
    bundle_in(tmp_path / "net")
    model, table = served(tmp_path / "net")
    assert model.backend.name == ("eager" if native_runs_at(Placement()) else "native")
    assert table is None
    assert served(tmp_path / "net", backend="eager")[0].backend.name == "eager"
    with pytest.raises(ValueError, match="backend"):
        served(tmp_path / "net", backend="")
