"""`load`: a saved bundle from a folder or a URL, whole, in part, or while it arrives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, overload

from anytimenet.bundle.bundle import Bundle
from anytimenet.core import checks
from anytimenet.core.delivery.addresses import is_url
from anytimenet.core.manifest.folder import MANIFEST_NAME
from anytimenet.nets.contract import AnytimeNet
from anytimenet.runtime.delivery.fetching import arrivals_at, fetched
from anytimenet.runtime.delivery.progressive import ProgressiveModel


@overload
def load(
    path: Path | str,
    stages: int | None = None,
    *,
    net: AnytimeNet | None = None,
    progressive: Literal[False] = False,
) -> Bundle: ...


@overload
def load(
    path: Path | str,
    stages: int | None = None,
    *,
    net: AnytimeNet | None = None,
    progressive: Literal[True],
) -> ProgressiveModel[Bundle]: ...


def load(
    path: Path | str,
    stages: int | None = None,
    *,
    net: AnytimeNet | None = None,
    progressive: bool = False,
) -> Any:
    """A saved bundle; with `stages=k` its first k stages only, and no more of its files is read or fetched.

    A URL is fetched into the cache, as `runtime.fetch` says: https, every file checked against the hash that
    `bundle.json` lists, a cut download gone on with. `#sha256=` and the SHA-256 of `bundle.json` pin it.

    Args:
        path: the bundle's folder, a run's folder, or the https URL of a bundle's folder.
        stages: how many stages to load; all by default.
        net: for a bundle of a net that was built by hand, one that is built as that one was. It stays as it
            is: the bundle gets a copy with the saved weights.
        progressive: do not wait for all of it. The result is a `ProgressiveModel`: its `model` is the bundle
            of the stages that are here, fetched or put into the folder by another program, and it grows as
            the others arrive. It raises what a file is found to be later, when that is waited for.

    Raises:
        BundleError: if it is missing, damaged, tampered with, or of another format; or if its net was built
            by hand and `net` is missing or is another one.
        DeliveryError: if a URL is refused or does not answer.
        ValueError: if there is no such stage, or the net needs no `net`.
    """
    if checks.flag(progressive, "progressive"):
        return _progressive(path, stages, net)
    if not is_url(path):
        return Bundle.load(path, stages=stages, net=net)
    return Bundle.load(fetched(str(path), MANIFEST_NAME, stages), stages=stages, net=net)


def _progressive(path: Path | str, stages: int | None, net: AnytimeNet | None) -> ProgressiveModel[Bundle]:
    arrivals = arrivals_at(path, MANIFEST_NAME)

    def grow(before: Bundle | None, count: int) -> Bundle:
        if before is None:
            bundle = Bundle.load(arrivals.folder, stages=count, net=net)
        else:
            bundle = before.upgraded(count, net=net)
        bundle.warm_up()  # here, and not in the first request that it answers
        return bundle

    return ProgressiveModel(arrivals, grow, stages)
