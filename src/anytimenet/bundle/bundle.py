"""`Bundle`: a net with all that is needed to use it, in memory and as a folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from anytimenet.bundle.folder import (
    ExtraFile,
    check_belongs,
    origin_of,
    read_bundle,
    stamp_of,
    write_bundle,
)
from anytimenet.bundle.inputs import as_input, softmax
from anytimenet.bundle.tables import check_table, kept_tables
from anytimenet.core.bundle_folder import find_bundle
from anytimenet.core.cost_table import CostTable
from anytimenet.core.errors import BundleError
from anytimenet.core.level_selection import LevelSelection
from anytimenet.core.manifest import Manifest
from anytimenet.core.prediction import Prediction
from anytimenet.core.preprocessing import Preprocessing
from anytimenet.core.stage_record import StageRecord
from anytimenet.core.taxonomy import Taxonomy
from anytimenet.costs.stage_costs import StageCost, stage_costs
from anytimenet.nets.contract import AnytimeNet, Segment
from anytimenet.nets.finite import check_finite


class Bundle:
    """A trained net with its labels, preprocessing, accuracies and cost tables.

    A bundle is finished: predictions run on copies of the weights, taken when a stage is first asked for.
    After more training of `net`, make a new bundle. Predictions may be asked for from several threads.

    Args:
        net: the net.
        manifest: what is known about it; its `net` is filled in from `net.origin`.
        cost_tables: measured costs, by device.
        clock: seconds, for `elapsed_ms`.

    Attributes:
        net, manifest, cost_tables: as given.

    Raises:
        BundleError: if net, manifest and cost tables do not belong together.

    >>> from anytimenet.nets import create_net
    >>> from anytimenet.core.preprocessing import Preprocessing
    >>> net = create_net("isresnext_tiny", num_classes=2, in_channels=1)
    >>> preprocessing = Preprocessing(8, 8, 1, mean=(0.5,), std=(0.5,))
    >>> bundle = Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=preprocessing)
    >>> bundle.predict(torch.zeros(1, 8, 8), stage=2).stage
    2
    """

    def __init__(
        self,
        net: AnytimeNet,
        manifest: Manifest,
        cost_tables: Mapping[str, CostTable] | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        check_belongs(net, manifest)
        self.net = net
        structure = manifest.structure if net.origin is None else None
        self.manifest = replace(manifest, net=origin_of(net), structure=structure)
        self.cost_tables: dict[str, CostTable] = {}
        for table in (cost_tables or {}).values():
            self.add_cost_table(table)
        self._clock = clock
        self._segments: dict[int, Segment] = {}
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._stamp: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the lock and the sub-networks, which a copy builds anew when it needs them."""
        return {**self.__dict__, "_lock": None, "_segments": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @classmethod
    def create(
        cls,
        net: AnytimeNet,
        *,
        class_names: Sequence[Sequence[str]],
        preprocessing: Preprocessing,
        taxonomy: Taxonomy | None = None,
        val_accuracies: Sequence[float] | None = None,
        coarser_val_accuracies: Sequence[Sequence[float]] | None = None,
        provenance: Mapping[str, Any] | None = None,
        costs: Sequence[StageCost] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Bundle:
        """A bundle of a net that was just trained.

        Args:
            net: the net.
            class_names: names of each label level, fine level first.
            preprocessing: from an image to the net's input.
            taxonomy: how the label levels hang together.
            val_accuracies: fraction of validation images that each stage got right, of a net that labels
                pixels its mean IoU on them.
            coarser_val_accuracies: for each stage the fraction on each coarser label level, finer to coarser.
            provenance: a JSON object: recipe, data name and fingerprint, versions, seed, ...
            costs: of each stage; counted if not given.
            clock: seconds, for `elapsed_ms`.

        Raises:
            BundleError: if these do not belong together.
        """
        shape = (preprocessing.channels, preprocessing.height, preprocessing.width)
        costs = stage_costs(net, shape) if costs is None else costs
        accuracies = [None] * len(costs) if val_accuracies is None else [float(a) for a in val_accuracies]
        coarser = [()] * len(costs) if coarser_val_accuracies is None else list(coarser_val_accuracies)
        for found in (accuracies, coarser):
            if len(found) != len(costs):
                raise BundleError(
                    f"{len(found)} validation accuracies, {len(costs)} stages: one each is needed"
                )
        stages = tuple(
            StageRecord(cost.stage, cost.macs, cost.full, cost.params, accuracy, tuple(map(float, more)))
            for cost, accuracy, more in zip(costs, accuracies, coarser, strict=True)
        )
        names = tuple(tuple(level) for level in class_names)
        manifest = Manifest(None, names, preprocessing, shape, stages, taxonomy, dict(provenance or {}))
        return cls(net, manifest, clock=clock)

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        stages: int | None = None,
        device: torch.device | str = "cpu",
        net: AnytimeNet | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Bundle:
        """The bundle in a folder that `save` wrote, or in `path/bundle`, where a run keeps its bundle.

        Args:
            path: the bundle's folder, or a run's folder.
            stages: load the first so many stages and read no more than they need; all by default.
            device: where the weights go.
            net: for a bundle of a net that was built by hand: one that is built as that one was. It is
                compared with what was saved and stays as it is; the bundle gets a copy.
            clock: seconds, for `elapsed_ms`.

        Raises:
            BundleError: if it is no bundle, of a newer format, incomplete, damaged or tampered with, or its
                net is not registered, or it was built by hand and `net` is missing or another one.
            ValueError: if `stages` is not from 1 to K, the device cannot be used, or `net` is not needed.
        """
        folder = find_bundle(path)
        found, manifest, tables = read_bundle(folder, stages=stages, device=device, net=net)
        bundle = cls(found.eval(), manifest, tables, clock=clock)
        bundle._folder, bundle._stamp = folder, stamp_of(folder)
        return bundle

    def save(
        self,
        path: Path | str,
        *,
        extra_files: Mapping[str, ExtraFile] | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Writes the bundle as a folder, whole or not at all; returns the folder.

        It takes the place of the bundle that it was loaded from or saved as; another bundle is replaced only
        with `overwrite`, and anything else never. Files that were added to a loaded bundle are carried over.
        A net that was built by hand is saved with a note of how it is loaded.

        Args:
            path: the folder to write.
            overwrite: replace whichever bundle is at `path`.
            extra_files: more files by their name in the folder, as bytes or as a path to copy; `curve.png`
                is shown in the model card.

        Raises:
            BundleError: if another bundle or something else is in the way, or the folder cannot be written;
                what was at `path` is unchanged then.
        """
        path = Path(path)
        own = self._folder is not None and path.resolve() == self._folder.resolve()
        known = "any" if overwrite else self._stamp if own else None
        self.manifest = write_bundle(self, path, extra_files or {}, carry_from=self._folder, known=known)
        self._folder, self._stamp = path, stamp_of(path)
        return self._folder

    @property
    def num_stages(self) -> int:
        """K."""
        return self.net.num_stages

    def keep(self, stages: Sequence[int]) -> Bundle:
        """A bundle of its own with only these stages (an increasing subset), renumbered from 1.

        Raises:
            ValueError: if the stages are not an increasing, non-empty subset of 1..K.
        """
        stages = tuple(stages)
        net = self.net.keep(stages)
        tables = kept_tables(self.cost_tables, stages)
        return Bundle(net, self.manifest.keep(stages), tables, clock=self._clock)

    def add_cost_table(self, table: CostTable) -> None:
        """Adds measured costs, in place of those of the same device.

        Raises:
            BundleError: if it was measured on inputs of another shape or a net with more stages.
        """
        check_table(table, self.manifest)
        self.cost_tables[table.device] = table

    def use_levels(self, selection: LevelSelection | None) -> None:
        """From now on each stage answers with a label of the level selected for it; None for fine labels.

        `save` keeps the selection.

        Raises:
            BundleError: if it is for another number of stages, or has levels that the bundle lacks.
        """
        self.manifest = replace(self.manifest, level_selection=selection)

    def segment_for(self, stage: int) -> Segment:
        """Sub-network `stage`, `(x,) -> Output`: built when first asked for, then kept.

        Raises:
            ValueError: if there is no such stage.
        """
        if isinstance(stage, bool) or not isinstance(stage, int) or not 1 <= stage <= self.num_stages:
            raise ValueError(f"stage {stage!r} does not exist: 1 to {self.num_stages} are there")
        with self._lock:
            if stage not in self._segments:
                self._segments[stage] = self.net.segment(0, stage, last=True)
            return self._segments[stage]

    def predict(
        self, image: Any, *, stage: int | None = None, budget_macs: float | None = None
    ) -> Prediction:
        """The answer for one image, from one stage, on the level that `use_levels` chose for it.

        Args:
            image: a path, a PIL image, a uint8 array `(H, W)` or `(H, W, C)`, or a tensor `(C, H, W)` of
                uint8 or of floats in 0..1, which are preprocessed as a dataset's images are; or floats
                `(1, C, H, W)`, taken as standardised already.
            stage: the stage to answer with. By default the best on validation data, the last if none was
                validated.
            budget_macs: multiply-adds that may be spent: the best validated stage that fits answers, and
                stage 1, marked `over_budget`, if none fits.

        Raises:
            NotFiniteError: if the stage answers with NaN or infinity.
            ValueError: for input that is no image of the right shape, a stage that does not exist, or both a
                stage and a budget.
        """
        began = self._clock()
        if stage is not None and budget_macs is not None:
            raise ValueError("give stage or budget_macs, not both: a stage has its own cost")
        over_budget = False
        if stage is None:
            stage, over_budget = self.manifest.best_stage(budget_macs)
        segment = self.segment_for(stage)
        x = as_input(image, self.manifest.preprocessing)
        weight = next(segment.parameters())
        with torch.inference_mode():
            output = segment((x.to(weight.device, weight.dtype),))
        check_finite(stage, output)
        found = tuple(softmax(logits) for logits in output)
        names = zip(self.manifest.class_names, found, strict=True)
        selection = self.manifest.level_selection
        return Prediction(
            labels=tuple(level[p.argmax()] for level, p in names),
            level_probabilities=found,
            stage=stage,
            elapsed_ms=1000 * (self._clock() - began),
            macs=self.manifest.stages[stage - 1].macs,
            over_budget=over_budget,
            level=1 if selection is None else selection.levels[stage - 1],
        )

    def __repr__(self) -> str:
        name = self.manifest.net.name if self.manifest.net else type(self.net).__name__
        return (
            f"Bundle({name}, {self.num_stages} stages, tables for {sorted(self.cost_tables) or 'no device'})"
        )
