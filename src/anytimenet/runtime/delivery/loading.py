"""`load`: an exported net from a folder or a URL, whole, in part, or while it arrives; without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, overload

from anytimenet.core import checks
from anytimenet.core.delivery.addresses import is_url
from anytimenet.runtime.backends.backend import Placement
from anytimenet.runtime.delivery.fetching import arrivals_at, fetched
from anytimenet.runtime.delivery.progressive import ProgressiveModel
from anytimenet.runtime.exported.net import ExportedNet
from anytimenet.runtime.exported.record import EXPORT_NAME


@overload
def load(
    path: Path | str,
    stages: int | None = None,
    *,
    backend: str | None = None,
    placement: Placement | None = None,
    progressive: Literal[False] = False,
) -> ExportedNet: ...


@overload
def load(
    path: Path | str,
    stages: int | None = None,
    *,
    backend: str | None = None,
    placement: Placement | None = None,
    progressive: Literal[True],
) -> ProgressiveModel[ExportedNet]: ...


def load(
    path: Path | str,
    stages: int | None = None,
    *,
    backend: str | None = None,
    placement: Placement | None = None,
    progressive: bool = False,
) -> Any:
    """An exported net; with `stages=k` its first k stages only, and no more of its files is read or fetched.

    Args:
        path: the folder that `anytimenet export` wrote, or its https URL, which `fetch` brings.
        stages: how many stages to load; all by default.
        backend: which runs it; by default the one of its files.
        placement: where and how it runs; one thread of the processor by default.
        progressive: do not wait for all of it. The result is a `ProgressiveModel`: its `model` is the net of
            the stages that are here, fetched or put into the folder by another program, and it grows as the
            others arrive.

    Raises:
        BundleError: if it is missing, damaged, tampered with, of another format, or a bundle.
        DeliveryError: if a URL is refused or does not answer.
        MissingExtraError: if what runs it is not installed; raised by `wait` of a progressive model.
        ValueError: if there are not so many stages.
    """
    if checks.flag(progressive, "progressive"):
        return _progressive(path, stages, backend, placement)
    if is_url(path):
        folder = fetched(str(path), EXPORT_NAME, stages)
    else:
        folder = checks.path(path, "path")
    return ExportedNet.load(folder, stages=stages, backend=backend, placement=placement)


def _progressive(
    path: Path | str, stages: int | None, backend: str | None, placement: Placement | None
) -> ProgressiveModel[ExportedNet]:
    arrivals = arrivals_at(path, EXPORT_NAME)

    def grow(before: ExportedNet | None, count: int) -> ExportedNet:
        if before is None:
            net = ExportedNet.load(arrivals.folder, stages=count, backend=backend, placement=placement)
        else:
            net = before.upgraded(count)
        net.predictor()  # its segments are opened here, and not by the first request
        return net

    return ProgressiveModel(arrivals, grow, stages)
