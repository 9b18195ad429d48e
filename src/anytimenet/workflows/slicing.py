"""A smaller bundle: some stages of a larger one, with the weights that they use and no others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anytimenet.bundle import Bundle, load
from anytimenet.core import checks


def slice_bundle(bundle: Bundle | Path | str, stages: int | Sequence[int]) -> Bundle:
    """A smaller bundle: the first `stages` stages, or those listed, renumbered from 1.

    Its outputs are those of the same stages before. Accuracies and measured segments between kept stages are
    carried over; thresholds for early exits are not, for they were solved for all stages together.

    Args:
        bundle: the bundle, or its folder, or the folder of the run that made it: of a folder no more files
            are read than the highest stage needs.
        stages: k for the first k stages, or an increasing list, `[3]` for stage 3 alone.

    Raises:
        BundleError: if the folder holds no bundle, or a damaged one.
        ValueError: if there is no such stage, or the list is not increasing.

    >>> from anytimenet import Preprocessing, create_net
    >>> net, look = create_net("isresnext_tiny", 2, in_channels=1), Preprocessing(8, 8, 1, (0.5,), (0.5,))
    >>> bundle = Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=look)
    >>> slice_bundle(bundle, 2).num_stages, slice_bundle(bundle, [1, 3]).costs == bundle.costs[::2]
    (2, True)
    """
    checks.instance(bundle, (Bundle, Path, str), "bundle", "load(PATH)")
    if isinstance(stages, Sequence) and not isinstance(stages, str):
        kept = checks.increasing(stages, "stages", checks.LARGEST)
    else:
        kept = tuple(range(1, checks.whole_number(stages, "stages", 1, checks.MOST_SIDE) + 1))
    source = bundle if isinstance(bundle, Bundle) else load(bundle, stages=kept[-1])
    checks.whole_number(kept[-1], "stages", 1, source.num_stages)
    return source if source is not bundle and len(kept) == source.num_stages else source.keep(kept)
