"""`Bundle`: a net with all that is needed to use it; long, for it is the one object that people hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from anytimenet.bundle.answering import Answering
from anytimenet.bundle.counted import counted_manifest, new_manifest
from anytimenet.bundle.folder import ExtraFile, read_bundle, read_seen, stamp_of, write_bundle
from anytimenet.bundle.shown import stages_as_html
from anytimenet.bundle.structure import check_belongs
from anytimenet.bundle.sub_networks import SubNetworks
from anytimenet.core import checks
from anytimenet.core.answers.level_selection import LevelSelection
from anytimenet.core.answers.prediction import FailedPrediction, Prediction
from anytimenet.core.errors import BundleError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.folder import find_bundle
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import ScoreRecord, TaskRecord, Thresholds
from anytimenet.core.manifest.seen_images import SeenImages
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.core.manifest.tables import check_table, kept_tables
from anytimenet.core.segments import SegmentSpec
from anytimenet.costs.rules import Rules, as_rules
from anytimenet.costs.segment_specs import segment_specs
from anytimenet.costs.stage_costs import StageCost, stage_costs
from anytimenet.nets.contract import AnytimeNet, Segment
from anytimenet.nets.members.specs import origin_of
from anytimenet.nets.sub_network import SubNetwork
from anytimenet.runtime.backends.backend import Backend, Placement
from anytimenet.runtime.backends.known import make_backend
from anytimenet.runtime.backends.preferred import preferred_backend
from anytimenet.runtime.budgets import Budget
from anytimenet.runtime.model import PreparedModel
from anytimenet.runtime.policies.known import policy_of
from anytimenet.runtime.policies.policy import ExitPolicy
from anytimenet.runtime.predictor import Predictor


class Bundle:
    """A trained net with its labels, preprocessing, accuracies and cost tables.

    Predictions run on copies of the weights, taken when they are first asked for, on the native engine where
    that runs the net and in PyTorch elsewhere; see `backend`. When the weights of `net` have changed, the
    next call takes new ones. Accuracies and cost tables stay as they were: after more training, make a new
    bundle. Predictions may be asked for from several threads, while none of them trains.

    Args:
        net: the net.
        manifest: what is known about it; its `net` is filled in from `net.origin`.
        cost_tables: measured costs; the bundle has them by `key`, which names machine, device and backend.
        seen: the images that the net was trained, chosen and tested on; None where nobody knows.
        clock: seconds, for `elapsed_ms`.

    Attributes:
        net, manifest, cost_tables, seen: as given.
        fitted_here: whether this process trained the net, so that what its provenance says of places is ours.

    Raises:
        BundleError: if net, manifest and cost tables do not belong together.

    >>> from anytimenet.nets import create_net
    >>> from anytimenet.core.images.preprocessing import Preprocessing
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
        seen: SeenImages | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        checks.instance(net, AnytimeNet, "net", "create_net(NAME)")
        checks.instance(manifest, Manifest, "manifest", "Manifest.read(PATH)")
        if cost_tables is not None:
            checks.instance(cost_tables, Mapping, "cost_tables", '{"cpu": CostTable(...)}')
            for table in cost_tables.values():
                checks.instance(table, CostTable, "cost_tables", "profile(bundle)")
        checks.function(clock, "clock", "time.perf_counter")
        check_belongs(net, manifest)
        self.net = net
        structure = manifest.structure if net.origin is None else None
        self.manifest = replace(manifest, net=origin_of(net), structure=structure)
        self.cost_tables: dict[str, CostTable] = {}
        for table in (cost_tables or {}).values():
            self.add_cost_table(table)
        self._rules: Rules = {}
        self.seen = seen
        self.fitted_here = False
        self._clock = clock
        self._sub_networks = SubNetworks(net)
        self._answering = Answering(clock)
        self._folder: Path | None = None
        self._stamp: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """All but what may be of this process alone: rules that are functions, and prepared segments."""
        rules = {name: rule for name, rule in self._rules.items() if not callable(rule)}
        return {**self.__dict__, "_rules": rules, "_answering": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.cost_tables = dict(self.cost_tables)  # `copy.copy` hands over the same one
        self._answering = Answering(self._clock)

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
        rules: Rules | None = None,
        task: TaskRecord | None = None,
        score: ScoreRecord | None = None,
        seen: SeenImages | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Bundle:
        """A bundle of a net that was just trained.

        Args:
            net: the net.
            class_names: names of each label level, fine level first.
            preprocessing: from an image to the net's input.
            taxonomy: how the label levels hang together.
            val_accuracies: fraction of validation images that each stage got right, of a segmentation
                net its mean IoU on them.
            coarser_val_accuracies: for each stage the fraction on each coarser label level, finer to coarser.
            provenance: a JSON object: recipe, data name and fingerprint, versions, seed, ...
            costs: of each stage; counted if not given.
            rules: for operators that the counter does not know, as in `stage_costs`.
            task: what is predicted; by default what class names and `provenance["masks"]` tell.
            score: what the validation accuracies measure; by default that of the task.
            seen: the images that it was trained, chosen and tested on.
            clock: seconds, for `elapsed_ms`.

        Raises:
            BundleError: if these do not belong together.
        """
        checks.instance(net, AnytimeNet, "net", "create_net(NAME)")
        manifest = new_manifest(
            net,
            class_names=class_names,
            preprocessing=preprocessing,
            taxonomy=taxonomy,
            val_accuracies=val_accuracies,
            coarser_val_accuracies=coarser_val_accuracies,
            provenance=provenance,
            costs=costs,
            rules=rules,
            task=task,
            score=score,
        )
        bundle = cls(net, manifest, seen=seen, clock=clock)
        bundle._rules = dict(rules or {})
        return bundle

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
        folder = find_bundle(checks.path(path, "path"))
        stages = checks.optional(stages, "stages", checks.whole_number, -checks.LARGEST)
        if net is not None:
            checks.instance(net, AnytimeNet, "net", "the net that was saved, built again")
        found, manifest, tables = read_bundle(folder, stages=stages, device=device, net=net)
        bundle = cls(found.eval(), manifest, tables, seen=read_seen(folder, manifest), clock=clock)
        bundle._folder, bundle._stamp = folder, stamp_of(folder)
        return bundle

    def upgraded(self, stages: int, *, net: AnytimeNet | None = None) -> Bundle:
        """The bundle of further stages of the folder that this one was loaded from, whose files have come.

        Only the files that this one lacks are read; its weights are copied as they are, so train neither.

        Args:
            stages: how many stages the new one has.
            net: as in `load`.

        Raises:
            BundleError: if the folder was replaced since, or as `load` does.
            ValueError: for fewer stages than this one has, or a bundle that was not loaded.
        """
        stages = checks.whole_number(stages, "stages", self.num_stages)
        if self._folder is None:
            raise ValueError("this bundle was not loaded from a folder: load it first")
        if stamp_of(self._folder) != self._stamp:
            raise BundleError(f"{self._folder} was replaced since stages were loaded from it: load it again")
        device = next(self.net.parameters()).device
        found, manifest, tables = read_bundle(
            self._folder, stages=stages, device=device, net=net, before=self.net
        )
        seen = read_seen(self._folder, manifest)
        bundle = Bundle(found.eval(), manifest, tables, seen=seen, clock=self._clock)
        bundle._folder, bundle._stamp = self._folder, self._stamp
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
        path = checks.path(path, "path")
        own = self._folder is not None and path.resolve() == self._folder.resolve()
        known = "any" if checks.flag(overwrite, "overwrite") else self._stamp if own else None
        self.manifest = write_bundle(
            *(self.net, self.manifest, self.cost_tables, path, {} if extra_files is None else extra_files),
            segments=self.segment_specs(),
            seen=self.seen,
            carry_from=self._folder,
            known=known,
        )
        self._folder, self._stamp = path, stamp_of(path)
        return self._folder

    @property
    def num_stages(self) -> int:
        """K."""
        return self.net.num_stages

    @property
    def class_names(self) -> tuple[tuple[str, ...], ...]:
        """Names of the classes of each label level, fine level first, as `DataSplits` has them."""
        return self.manifest.class_names

    @property
    def accuracies(self) -> tuple[float | None, ...]:
        """What each stage got right of the validation images, as a fraction; None where nobody measured it.

        Of a segmentation net it is the mean IoU.
        """
        return tuple(record.val_accuracy for record in self.manifest.stages)

    @property
    def costs(self) -> tuple[int, ...]:
        """Multiply-adds of each stage's sub-network for one image; `cost_tables` has measured times."""
        return tuple(record.macs for record in self.manifest.stages)

    def keep(self, stages: Sequence[int]) -> Bundle:
        """A bundle of its own with only these stages (an increasing subset), renumbered from 1.

        Raises:
            ValueError: if the stages are not an increasing, non-empty subset of 1..K.
        """
        stages = checks.increasing(stages, "stages", self.num_stages)
        net = self.net.keep(stages)
        tables = kept_tables(self.cost_tables, stages)
        kept = Bundle(net, self.manifest.keep(stages), tables, seen=self.seen, clock=self._clock)
        kept._rules = dict(self._rules)
        kept.fitted_here = self.fitted_here
        return kept

    def add_cost_table(self, table: CostTable) -> None:
        """Adds measured costs, in place of those with the same `key`.

        Raises:
            BundleError: if it was measured on inputs of another shape or a net with more stages.
        """
        checks.instance(table, CostTable, "table", "profile(bundle)")
        check_table(table, self.manifest)
        self.cost_tables[table.key] = table

    def count_costs(self, rules: Rules | None = None) -> list[StageCost]:
        """Counts the costs of the stages anew and keeps them; `save` stores them.

        Args:
            rules: for operators that the counter does not know, by name: what one call costs in
                multiply-adds, 0 for a free one, or a function as in `costs.count`. They are remembered;
                numbers are saved, too, and functions are to be given again after `load`.

        Raises:
            TypeError: if `rules` is no mapping from names to functions or numbers.
        """
        as_rules(rules)
        self._rules = {**self._rules, **(rules or {})}
        costs = self.stage_costs()
        self.manifest = counted_manifest(self.manifest, costs, self._rules)
        return costs

    def stage_costs(self) -> list[StageCost]:
        """The costs of the stages with all steps, counted with the rules that were given for this bundle."""
        return stage_costs(self.net, self.manifest.input_shape, rules=self.rules)

    def segment_specs(self) -> tuple[SegmentSpec, ...]:
        """What every segment reads, gives and costs, by the rules that were given; `save` stores it."""
        return segment_specs(self.net, self.manifest.input_shape, rules=self.rules)

    @property
    def rules(self) -> Rules:
        """What operators cost that the counter does not know, as far as it was said for this bundle."""
        return {**self.manifest.cost_rules, **self._rules}

    def use_levels(self, selection: LevelSelection | None) -> None:
        """From now on each stage answers with a label of the level selected for it; None for fine labels.

        `save` keeps the selection.

        Raises:
            BundleError: if it is for another number of stages, or has levels that the bundle lacks.
        """
        if selection is not None:
            checks.instance(selection, LevelSelection, "selection", "LevelSelection((2, 1), (0.8, 0.7), 0.7)")
        self.manifest = replace(self.manifest, level_selection=selection)

    def use_exits(self, thresholds: Thresholds | None) -> None:
        """From now on these thresholds say where an image may leave early; None for nowhere.

        `save` keeps them.

        Args:
            thresholds: what `choose_exits` found, or of a policy that `runtime.register_policy` knows.

        Raises:
            BundleError: if they are for another number of stages, or of a policy that is not known.
        """
        if thresholds is not None:
            policy_of(thresholds)
        self.manifest = replace(self.manifest, thresholds=thresholds)

    def segment_for(self, stage: int) -> Segment:
        """Sub-network `stage`, `(x,) -> Output`: built when first asked for, then kept.

        Raises:
            ValueError: if there is no such stage.
        """
        return self._sub_networks.of(checks.whole_number(stage, "stage", 1, self.num_stages))

    def subnet(self, stage: int) -> SubNetwork:
        """Sub-network `stage` as an ordinary module with weights of its own, in eval mode, that can learn.

        It reads standardised inputs `(N, C, H, W)` and gives the logits, a tensor, or a tuple of them where
        there are several label levels. `keep([stage])` is a bundle of the same.

        Raises:
            ValueError: if there is no such stage.

        >>> from anytimenet.nets import create_net
        >>> from anytimenet.core.images.preprocessing import Preprocessing
        >>> net, p = create_net("isresnext_tiny", 2, in_channels=1), Preprocessing(8, 8, 1, (0.5,), (0.5,))
        >>> bundle = Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=p)
        >>> bundle.subnet(1)(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 2])
        """
        return SubNetwork(self.net, stage).eval()

    @property
    def backend(self) -> Backend:
        """What answers here, on one thread; made when it is first asked for, then kept.

        It is the backend that `profile` measured the bundle with on this machine, the native engine before
        PyTorch. A bundle that was not measured is answered by the native engine where the net lies on the CPU
        and the engine has all its operators, and by eager PyTorch, where the net lies, elsewhere; `name` says
        which. Both run on copies of the weights. When `net` has other weights, other hooks or another
        place than when it was made, it is made anew; sessions go on with the one that they began with.
        """
        return self._answering.backend(self)

    def prepared(
        self, backend: str = "eager", *, threads: int = 1, dtype: str = "float32", device: str = "cpu"
    ) -> PreparedModel:
        """This bundle on a backend of its own, as sessions and predictors take it.

        Args:
            backend: "eager" PyTorch; "compiled" ahead of time, or "compiled-single" for one image at a time,
                which are faster and need a C++ compiler; "native", "onnxruntime" or "openvino", for which it
                is exported to a temporary folder; or a name under which another was registered.
            threads: that one segment uses.
            dtype: number format of weights and states.
            device: "cpu", or a GPU such as "cuda".

        Raises:
            BackendError: if there is no such backend, or it cannot run there.

        >>> from anytimenet import create_net
        >>> from anytimenet.core.images.preprocessing import Preprocessing
        >>> net, p = create_net("isresnext_tiny", 2, in_channels=1), Preprocessing(8, 8, 1, (0.5,), (0.5,))
        >>> bundle = Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=p)
        >>> bundle.prepared(threads=2).backend.placement
        Placement(device='cpu', threads=2, dtype='float32')
        """
        return PreparedModel(self.manifest, make_backend(self, backend, Placement(device, threads, dtype)))

    def predictor(
        self,
        backend: str | None = None,
        *,
        threads: int = 1,
        dtype: str = "float32",
        device: str = "cpu",
        policy: ExitPolicy | Literal["stored"] | None = "stored",
        variant: str = "alert",
    ) -> Predictor:
        """What answers within budgets on a backend of its own, with its segments prepared and warm.

        It keeps the weights that it was made with, whatever happens to `net`.

        Deadlines are planned with the cost table that this machine measured with this backend, if the bundle
        holds one: `profile(bundle)` makes it.

        Args:
            backend, threads, dtype, device: as in `prepared`; by default chosen as in `Bundle.backend`.
            policy: which images leave early; by default the one that the bundle's thresholds are for.
            variant: of the planner, see `Planner`.

        Raises:
            BackendError: if there is no such backend, or it cannot run there.
        """
        place = Placement(device, threads, dtype)
        if backend is None:
            model = PreparedModel(self.manifest, preferred_backend(self, place, self.cost_tables))
        else:
            model = self.prepared(backend, threads=threads, dtype=dtype, device=device)
        found = Predictor(
            model,
            table=table_for(self.cost_tables, model.backend.name, model.backend.placement),
            policy=policy,
            variant=variant,
            clock=self._clock,
        )
        found.warm_up()
        return found

    def predict(
        self,
        image: Any,
        *,
        deadline_ms: float | None = None,
        budget_macs: float | None = None,
        stage: int | None = None,
        target_accuracy: float | None = None,
    ) -> Prediction:
        """The answer for one image within a budget, on the level that `use_levels` chose for its stage.

        At most one budget is given. Without any the best validated stage answers, or where the bundle holds
        thresholds, the first stage that is sure enough. Segments are prepared when they are first used, which
        takes longer than a deadline: `warm_up` prepares them before.

        Args:
            image: a path, a PIL image, a uint8 array `(H, W)` or `(H, W, C)`, or a tensor `(C, H, W)` of
                uint8 or of floats in 0..1, which are preprocessed as a dataset's images are; or floats
                `(1, C, H, W)`, taken as standardised already.
            deadline_ms: wall-clock time from this call to its return, reading the image included. The answer
                is the best that can be had in time, and marked `late` if none could.
            budget_macs: multiply-adds that may be spent: the best validated stage that fits answers, and
                stage 1, marked `over_budget`, if none fits.
            stage: the stage to answer with.
            target_accuracy: the cheapest stage whose validated accuracy is at least this answers; the best,
                marked `below_target`, if none is.

        Raises:
            NotFiniteError: if the stages that ran answer with NaN or infinity.
            CostTableError: for a deadline where this machine measured nothing: `profile(bundle)` does.
            ValueError: for input that is no image of the right shape, a budget that cannot be, or two.
        """
        began = self._clock()  # weights that have changed take time, too
        budget = Budget(deadline_ms, budget_macs, stage, target_accuracy)
        return self._answering.predictor(self).answer(image, budget, began)

    def predict_many(
        self,
        images: Any,
        *,
        deadline_ms: float | None = None,
        budget_macs: float | None = None,
        stage: int | None = None,
        target_accuracy: float | None = None,
        batch_size: int = 32,
        skip_bad: bool = False,
    ) -> Iterator[Prediction | FailedPrediction]:
        """The answers for many images, in order and as they come: what `predict` says of each.

        Images run in batches, so that many are answered sooner. An image that cannot be read or answered gets
        a `FailedPrediction`, with its `source` and `error`, in the place of its answer, and the others go on.

        Args:
            images: a folder, a pattern such as "photos/*.jpg", or an iterable of what `predict` reads; or a
                stack: uint8 pixels `(N, H, W, C)` or `(N, C, H, W)`, or floats `(N, C, H, W)`, taken as
                standardised already.
            deadline_ms: wall-clock time for each batch, from when its first image is read; batches of that
                size must have been profiled.
            budget_macs, stage, target_accuracy: as in `predict`, for each image.
            batch_size: images that run together. Answers do not depend on it beyond rounding.
            skip_bad: leave out images that cannot be predicted, with a warning each, instead.

        Returns:
            Predictions with their `source`: the path of the image's file, or its place, from 0. Their
            `elapsed_ms` is the time of their batch, divided among its images.

        Raises:
            DataError: for a folder or pattern without images.
            TypeError: for what holds no images.
            ValueError, CostTableError: for a budget that cannot be, or a segmentation net.

        >>> from anytimenet import create_net
        >>> from anytimenet.core.images.preprocessing import Preprocessing
        >>> net, p = create_net("isresnext_tiny", 2, in_channels=1), Preprocessing(8, 8, 1, (0.5,), (0.5,))
        >>> bundle = Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=p)
        >>> grey = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
        >>> [answer.source for answer in bundle.predict_many(grey, stage=2)]
        [0, 1, 2]
        >>> next(bundle.predict_many(["nowhere.png"])).error
        'nowhere.png does not exist'
        """
        return self._answering.predictor(self).predict_many(
            images,
            deadline_ms=deadline_ms,
            budget_macs=budget_macs,
            stage=stage,
            target_accuracy=target_accuracy,
            batch_size=batch_size,
            skip_bad=skip_bad,
        )

    def warm_up(self, batch: int = 1) -> None:
        """Prepares what `predict` may run and runs it once, so that no request waits for that."""
        self._answering.predictor(self).warm_up(batch)

    def _repr_html_(self) -> str:
        return stages_as_html(self.manifest, repr(self))

    def __repr__(self) -> str:
        name = self.manifest.net.name if self.manifest.net else type(self.net).__name__
        tables = ", ".join(sorted(self.cost_tables)) or "none"
        return f"Bundle({name}, {self.num_stages} stages, cost tables: {tables})"
