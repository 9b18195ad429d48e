"""Every public callable refuses a wrong argument by its name, at the door.

Each row below is a right call. One argument after the other is replaced by values of other kinds, by NaN,
infinity, numbers that no machine holds, empty things and words. Either the value happens to be right, or the
error is an `AnytimeNetError`, a `ValueError` or a `TypeError` that names the argument and is raised at the
door: by the checks, or by the callable's own file, before anything below has stumbled over it.

Arguments are read off the signatures: a new argument is driven without a line here, and a new public name
without a row fails.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import anytimenet as an
from anytimenet.core.errors import AnytimeNetError
from anytimenet.core.manifest.cost_table import Latency
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.data import DataSplits, splits_from_datasets
from anytimenet.evaluation import make_report, make_segmentation_report
from anytimenet.evaluation.protocols.outputs import OutputCost
from anytimenet.nets import Node

HOME = Path(an.__file__).parent
"""Where the project's files are."""
CHECKS = (
    "core/checks.py",
    "core/segments.py",
    "core/records.py",
    "workflows/reading.py",
    "costs/rules.py",
    "nets/segment.py",
)
"""Files that hold nothing but checks: an error raised there is raised at the door."""
# --- what the calls are made of ---------------------------------------------------------------------------


class World:
    """Small things that right calls need; each is made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def net(self) -> an.AnytimeNet:
        torch.manual_seed(0)
        return an.create_net("isresnext_tiny", 2, in_channels=1).eval()

    @cached_property
    def chain(self) -> an.AnytimeNet:
        return an.create_net("resnet_tiny", 2, in_channels=1).eval()

    @cached_property
    def eann(self) -> an.EANN:
        return an.EANN([self.net, self.chain])

    @cached_property
    def exits(self) -> an.ExitNet:
        return an.ExitNet(None, [conv(1, 4), conv(4, 8)], (1, 2), num_classes=2, input_shape=(1, 8, 8))

    @cached_property
    def preprocessing(self) -> an.Preprocessing:
        return an.Preprocessing(8, 8, 1, (0.5,), (0.25,))

    @cached_property
    def bundle(self) -> an.Bundle:
        return an.Bundle.create(
            self.net,
            class_names=[["cat", "dog"]],
            preprocessing=self.preprocessing,
            val_accuracies=[0.5, 0.6, 0.7],
            provenance={"data": {"name": "digits"}},
        )

    @cached_property
    def profiled(self) -> an.Bundle:
        """A bundle whose latencies are known here."""
        table = an.CostTable(
            *("cpu", machine_stamp(), "float32", 1, (1, 8, 8)),
            {(a, b, 1): Latency(1.0, 2.0, 3.0, repeats=5) for a in range(3) for b in range(a + 1, 4)},
        )
        return an.Bundle(self.net, self.bundle.manifest, {table.key: table})

    @cached_property
    def levels(self) -> an.Bundle:
        """A bundle of two label levels."""
        net = an.create_net("isresnext_tiny", (2, 1), in_channels=1)
        names = [["cat", "dog"], ["pet"]]
        return an.Bundle.create(net, class_names=names, preprocessing=self.preprocessing)

    @cached_property
    def costs(self) -> list[Any]:
        return an.stage_costs(self.net, (1, 8, 8))

    @cached_property
    def maps(self) -> an.Bundle:
        """A segmentation bundle."""
        net = an.create_net("fcn_exits_tiny", 2)
        colours = {"names": ["road", "sky"], "values": [0, 1], "palette": [[0, 0, 0], [9, 9, 9]]}
        return an.Bundle.create(
            net,
            class_names=[["road", "sky"]],
            preprocessing=an.Preprocessing(32, 32, 3, (0.5,) * 3, (0.25,) * 3),
            provenance={"masks": {**colours, "ignore_index": 255}},
        )

    @cached_property
    def saved(self) -> Path:
        return self.bundle.save(self.folder / "saved")

    @cached_property
    def splits(self) -> DataSplits:
        items = [(np.full((8, 8), 9 * i, np.uint8), i % 2) for i in range(20)]
        return splits_from_datasets(items, class_names=["cat", "dog"])

    @cached_property
    def level_splits(self) -> DataSplits:
        items = [(np.full((8, 8), 9 * i, np.uint8), (i % 2, 0)) for i in range(20)]
        return splits_from_datasets(items, class_names=[["cat", "dog"], ["pet"]])

    @cached_property
    def photo(self) -> Path:
        path = self.folder / "photo.png"
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(path)
        return path

    @cached_property
    def table(self) -> an.CostTable:
        return an.CostTable(
            "cpu", machine_stamp(), "float32", 1, (1, 8, 8), {(0, 1, 1): Latency(1.0, 2.0, 3.0, repeats=5)}
        )

    @cached_property
    def maps_report(self) -> an.SegmentationReport:
        costs = [OutputCost(1, 20, 30, 5, 20, 20)]
        found = np.array([[3, 1], [0, 4]])
        return make_segmentation_report(
            [found], costs, ["road", "sky"], data="streets", split="test", count=2
        )

    @cached_property
    def report(self) -> an.Report:
        costs = [OutputCost(1, 20, 30, 5, 20, 20), OutputCost(2, 40, 50, 9, 60, 60)]
        logits = np.array([[2.0, 1.0], [0.0, 1.0]])
        return make_report([logits, logits], np.array([0, 1]), costs, data="pets", split="test")


def conv(read: int, gave: int) -> torch.nn.Module:
    return torch.nn.Conv2d(read, gave, 3, padding=1)


class Reached(Exception):  # noqa: N818  (it is none)
    """The work behind the door began: the arguments were taken."""


def reach(*_: Any, **__: Any) -> Any:
    raise Reached


@dataclass(frozen=True)
class Row:
    """A right call.

    Attributes:
        right: the arguments, of a world.
        path: of the callable in `anytimenet`; by default the row's name.
        on: what a method is called on.
        work: what lies behind the door and is not run: "module.name" or "module.class.name" of the project.
        words: for an argument other words that name it in a message.
        doors: further files in which an error of this call is one at the door.
        more: arguments that the signature does not tell.
        left: arguments that are not driven, because they are made by the project alone.
        examples: drawn for each argument, beside `WRONG`.
    """

    name: str
    right: Callable[[World], dict[str, Any]] = lambda world: {}
    on: Callable[[World], Any] | None = None
    work: tuple[str, ...] = ()
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    doors: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    examples: int = 8

    def find(self) -> Callable[..., Any]:
        """The callable, unbound."""
        found: Callable[..., Any] = attrgetter(self.name.partition("[")[0])(an)
        return found

    def made(self, world: World) -> tuple[Callable[..., Any], dict[str, Any]]:
        """The callable and right arguments."""
        right = self.right(world)
        if self.on is None:
            return self.find(), right
        return getattr(self.on(world), self.name.partition("[")[0].rpartition(".")[2]), right


IMAGE: dict[str, tuple[str, ...]] = {"image": ("image", "predict reads")}
JUDGED = {"split": "test", "skip_bad": False, "workers": 0, "device": "cpu"}
IMAGES = (
    "core/manifest/manifest.py",
    "core/images/decoding.py",
    "core/images/formats.py",
    "core/images/containers.py",
    "core/images/inputs.py",
    "runtime/budgets.py",
)
DATA = (
    "workflows/evaluation.py",
    "workflows/images.py",
    "data/sources/folder.py",
    "data/sources/folder_listing.py",
    "workflows/trained_data.py",
    "data/sources/item_reader.py",
    "data/sources/item_labels.py",
    "data/load.py",
    "data/sources/datasets.py",
    "data/reading/decoding.py",
    "data/sets/splits.py",
)


def a_head(channels: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(channels, 2)
    )


def a_curve(_: World) -> an.Curve:
    return an.Curve((10, 20), (0.5, 0.6))


def taxonomy_of_pets(_: World) -> an.Taxonomy:
    return an.Taxonomy((("cat", "dog"), ("pet",)), ((0,), (0,)))


def saved_table(world: World) -> Path:
    path = world.folder / "saved-table.json"
    world.table.save(path)
    return path


CONTRACT = ("nets/contract.py",)
BACKENDS = (
    "runtime/backends/known.py",
    "runtime/backends/backend.py",
    "bundle/backends/torch_backend.py",
    "nets/snapshot.py",
    "workflows/on_backend.py",
)


def net_rows(kind: str, on: Callable[[World], Any], channels: int) -> list[Row]:
    """The methods of a net of `kind`."""
    x = torch.zeros(2, channels, 8, 8)
    shape = (channels, 8, 8)
    return [
        Row(f"{kind}.forward", lambda w: {"x": x, "stages": (1,)}, on=on, doors=CONTRACT, left=("x",)),
        Row(f"{kind}.passes", lambda w: {"x": x, "stages": (1,)}, on=on, doors=CONTRACT, left=("x",)),
        Row(
            f"{kind}.segment",
            lambda w: {"start": 0, "stop": 1, "last": True},
            on=on,
            words={"start": ("segment",), "stop": ("segment",)},
            doors=CONTRACT,
        ),
        Row(
            f"{kind}.state_spec",
            lambda w: {"stage": 1, "input_shape": shape},
            on=on,
            words={"input_shape": ("images",)},
            doors=CONTRACT,
        ),
        Row(
            f"{kind}.snapshot",
            lambda w: {"device": "cpu", "dtype": "float64"},
            on=on,
            work=("nets.contract.frozen_copy",),
            doors=("nets/snapshot.py",),
        ),
        Row(f"{kind}.state_names", lambda w: {"stage": 1}, on=on, doors=(*CONTRACT, "nets/chain/chain.py")),
        Row(f"{kind}.keep", lambda w: {"stages": (1,)}, on=on),
        Row(f"{kind}.check_stages", lambda w: {"stages": (1,)}, on=on),
        Row(f"{kind}.check_reached", lambda w: {"stage": 1}, on=on, doors=CONTRACT),
    ]


_ROWS = (
    Row(
        "fit",
        lambda w: {
            "net": w.net,
            "train": w.splits,
            "config": an.TrainConfig(epochs=1, device="cpu"),
            "workers": 0,
            "resume": False,
        },
        work=("workflows.plan.check_output",),
        doors=(*DATA, "core/manifest/folder.py", "bundle/folder.py"),
        words={"train": ("data", "train")},
    ),
    Row(
        "evaluate",
        lambda w: {"bundle": w.bundle, "data": w.splits, "per_class": False, **JUDGED},
        work=("workflows.evaluation.collect_logits",),
        doors=DATA,
        words={"data": ("data",)},
    ),
    Row(
        "evaluate_budgeted",
        lambda w: {"bundle": w.bundle, "data": w.splits, "ps": (0.5, 1.0), **JUDGED},
        work=("workflows.evaluation.collect_logits",),
        doors=DATA,
    ),
    Row(
        "evaluate_levels",
        lambda w: {"bundle": w.levels, "data": w.level_splits, "tolerance": 0.0, **JUDGED},
        work=("workflows.evaluation.collect_logits",),
        doors=DATA,
    ),
    Row(
        "collect_outputs",
        lambda w: {"bundle": w.bundle, "data": w.splits, **JUDGED},
        work=("workflows.evaluation.collect_logits",),
        doors=DATA,
    ),
    Row(
        "reestimate",
        lambda w: {
            "bundle": w.bundle,
            "data": w.splits,
            "augmentation": None,
            "skip_bad": False,
            "workers": 0,
            "device": "cpu",
            "num_batches": 1,
        },
        work=("workflows.reestimating.reestimate_statistics",),
        doors=DATA,
    ),
    Row(
        "profile",
        lambda w: {"bundle": w.bundle, "minutes": 0.1, "threads": 1, "batch_sizes": (1,)},
        doors=("runtime/backends/known.py", "workflows/on_backend.py", "core/manifest/folder.py"),
        words={"bundle": ("bundle", "path")},
        work=("workflows.profiling.profile_backend",),
    ),
    Row(
        "load",
        lambda w: {"path": w.saved, "stages": 2},
        doors=("bundle/folder.py", "core/manifest/folder.py", "bundle/bundle.py"),
        words={"path": ("bundle", "path")},
    ),
    Row(
        "load_data",
        lambda w: {"name": "digits"},
        doors=("data/sources/folder.py",),
        words={"name": ("data",)},
    ),
    Row(
        "join_bundles",
        lambda w: {"bundles": [w.bundle, w.bundle]},
        work=("workflows.joining.combinations",),
        words={"bundles": ("bundle", "does not exist")},
        doors=("core/manifest/folder.py",),
    ),
    Row(
        "slice_bundle",
        lambda w: {"bundle": w.saved, "stages": 2},
        work=("workflows.slicing.load",),
        words={"bundle": ("bundle", "does not exist")},
        doors=("core/manifest/folder.py",),
    ),
    Row(
        "export_bundle",
        lambda w: {"bundle": w.bundle, "folder": w.folder / "exported", "format": "onnx"},
        work=("workflows.exporting.export", "workflows.exporting.calibration_images"),
        words={"bundle": ("bundle", "does not exist", "path")},
        doors=("core/manifest/folder.py", "export/folder.py"),
    ),
    Row("label_map", lambda w: {"bundle": w.maps, "image": w.photo, "stage": 1}, words=IMAGE, doors=IMAGES),
    Row(
        "write_masks",
        lambda w: {"bundle": w.maps, "image": w.photo, "folder": w.folder / "masks"},
        work=("workflows.label_maps.plot_masks",),
        words=IMAGE,
        doors=IMAGES,
    ),
    Row(
        "create_net",
        lambda w: {"name": "resnet_tiny", "num_classes": 2},
        words={"name": ("net",)},
        doors=("nets/building.py",),
    ),
    Row("register_net", lambda w: {"name": "mine", "input_shape": (3, 8, 8), "summary": "a net", "form": 1}),
    Row("list_nets", lambda w: {"pattern": "*"}),
    Row(
        "stage_costs",
        lambda w: {"net": w.net, "input_shape": (1, 8, 8)},
        words={"input_shape": ("input_shape", "images"), "rules": ("rule",)},
        doors=("nets/contract.py", "costs/counting.py"),
    ),
    Row(
        "wrap",
        lambda w: {
            "module": torch.nn.Sequential(
                conv(1, 4),
                conv(4, 4),
                torch.nn.AdaptiveAvgPool2d(1),
                torch.nn.Flatten(),
                torch.nn.Linear(4, 2),
            ),
            "taps": ["0"],
            "frozen": False,
            "input_shape": (1, 8, 8),
            "input_spec": None,
            "coarser": (),
        },
        words={
            "module": ("module",),
            "taps": ("taps", "module", "tap"),
            "input_shape": ("images", "input_shape"),
            "head": ("head",),
            "heads": ("head",),
        },
        doors=("nets/chain/exits.py", "nets/chain/shapes.py", "nets/wrapped/capture.py"),
    ),
    Row(
        "zero_time_waste",
        lambda w: {
            "backbone": an.create_net("resnext_exits_tiny", 2),
            "head": "conv",
            "ensembles": "geometric",
            "keep_last": True,
            "input_shape": (3, 8, 8),
        },
        words={"head": ("head",), "input_shape": ("images", "input_shape")},
    ),
    Row("recipe", lambda w: {"name": "digits"}),
    Row(
        "run",
        lambda w: {
            "experiment": an.recipe("digits").build(),
            "out": w.folder / "run",
            "resume": False,
            "overwrite": False,
            "quiet": True,
        },
        work=("recipes.runner.RunFolder",),
        doors=("core/manifest/folder.py",),
        words={"out": ("out",)},
    ),
    Row("Augmentation", lambda w: {"flip": True, "pad": 2, "cutout": 0}),
    Row(
        "LargeImageAugmentation",
        lambda w: {"flip": True, "colour_jitter": 0.5, "hue": 0.1, "lighting": 0.1, "cutout": 2},
    ),
    Row("MaskAugmentation", lambda w: {"flip": True, "pad": 2}),
    Row("Mixing", lambda w: {"mixup": 0.5, "cutmix": 1.0}),
    Row(
        "MaskSet",
        lambda w: {
            "images": np.zeros((2, 4, 4, 3), np.uint8),
            "masks": np.zeros((2, 4, 4), np.uint8),
            "names": ("a", "b"),
        },
    ),
    Row(
        "MaskSet.subset",
        lambda w: {"indices": [0]},
        on=lambda w: an.MaskSet(np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.uint8), ("a", "b")),
    ),
    Row(
        "DataOptions",
        lambda w: {
            "image_size": 8,
            "shorter_side": 9,
            "channels": 1,
            "seed": 3,
            "split_seed": 2,
            "val_fraction": 0.1,
            "test_fraction": 0.2,
            "limit": 9,
            "images_per_class": 3,
            "skip_bad": True,
        },
        doors=("data/sets/taxonomies.py",),
    ),
    Row(
        "TrainConfig",
        lambda w: {
            "epochs": 3,
            "batch_size": 8,
            "lr": 0.5,
            "momentum": 0.5,
            "nesterov": False,
            "weight_decay": 0.5,
            "warmup": 0.5,
            "clip_norm": 1.0,
            "label_smoothing": 0.5,
            "channels_last": True,
            "seed": 3,
            "checkpoint_steps": 3,
            "statistics_batches": 3,
            "devices": 2,
            "sync_batchnorm": False,
        },
        doors=("schemes/presets.py",),
    ),
    Row("Preprocessing", lambda w: asdict(w.preprocessing)),
    Row(
        "Preprocessing.decode",
        lambda w: {"image": w.photo},
        on=lambda w: w.preprocessing,
        words=IMAGE,
        doors=IMAGES,
    ),
    Row(
        "Preprocessing.standardise",
        lambda w: {"images": np.zeros((1, 8, 8, 1), np.uint8)},
        on=lambda w: w.preprocessing,
    ),
    Row(
        "Preprocessing.from_dict",
        lambda w: {"values": w.preprocessing.to_dict()},
        words={"values": ("values", "preprocessing")},
    ),
    Row(
        "Taxonomy",
        lambda w: {"levels": (("cat", "dog"), ("pet",)), "parents": ((0,), (0,))},
        words={"levels": ("level", "taxonomy"), "parents": ("parent", "class")},
    ),
    Row(
        "Taxonomy.from_mapping",
        lambda w: {"fine_names": ["cat"], "mapping": {"cat": "pet"}},
        words={"fine_names": ("fine_names", "taxonomy"), "mapping": ("mapping", "taxonomy")},
    ),
    Row(
        "Taxonomy.from_dict",
        lambda w: {"values": {"levels": [["cat"]], "parents": [[]]}},
        words={"values": ("values", "taxonomy")},
    ),
    Row(
        "Taxonomy.lift",
        lambda w: {"fine_labels": [0, 1]},
        on=taxonomy_of_pets,
        words={"fine_labels": ("labels",)},
    ),
    Row(
        "Taxonomy.sum_up",
        lambda w: {"probabilities": np.array([[0.5, 0.5]]), "level": 2},
        on=taxonomy_of_pets,
    ),
    Row(
        "LevelSelection",
        lambda w: {"levels": (2, 1), "val_accuracies": (0.8, 0.7), "target_accuracy": 0.5},
        words={"val_accuracies": ("accuracies",)},
    ),
    Row(
        "LevelSelection.keep",
        lambda w: {"stages": (1,)},
        on=lambda w: an.LevelSelection((2, 1), (0.8, 0.7), 0.7),
    ),
    Row(
        "LevelSelection.from_dict",
        lambda w: {"values": an.LevelSelection((2, 1), (0.8, 0.7), 0.7).to_dict()},
        words={"values": ("level",)},
    ),
    Row(
        "Prediction",
        lambda w: {
            "labels": ("cat",),
            "level_probabilities": (np.array([1.0]),),
            "stage": 1,
            "elapsed_ms": 0.5,
            "macs": 9,
            "over_budget": False,
            "level": 1,
            "late": False,
            "path": ((0, 1),),
            "below_target": False,
        },
    ),
    Row(
        "Prediction.timed",
        lambda w: {"elapsed_ms": 0.5, "late": True},
        on=lambda w: an.Prediction(("cat",), (np.ones(1),), stage=1, elapsed_ms=0.5, macs=9),
    ),
    Row(
        "CostTable",
        lambda w: (
            {
                n: getattr(w.table, n)
                for n in ("device", "machine", "dtype", "threads", "input_shape", "entries", "backend")
            }
            | {"state_bytes": (4,), "decode": Latency(1, 2, 3, 4), "preprocess": Latency(1, 2, 3, 4)}
        ),
        words={"machine": ("machine",), "entries": ("entries", "entry")},
    ),
    Row(
        "CostTable.latency",
        lambda w: {"start": 0, "stop": 1, "batch": 1},
        on=lambda w: w.table,
        words={"start": ("start", "segment"), "stop": ("stop", "segment"), "batch": ("batch",)},
    ),
    Row("CostTable.from_json", lambda w: {"value": w.table.to_json()}, words={"value": ("cost table",)}),
    Row(
        "CostTable.load",
        lambda w: {"path": saved_table(w), "any_machine": False},
        words={"path": ("path", "cost table", "json")},
    ),
    Row("CostTable.save", lambda w: {"path": w.folder / "table.json"}, on=lambda w: w.table),
    Row(
        "Manifest",
        lambda w: {n.name: getattr(w.bundle.manifest, n.name) for n in fields(an.Manifest) if n.init},
        words={"files": ("files", "file"), "net": ("net",)},
        doors=("core/manifest/records.py", "core/manifest/folder.py", "core/manifest/checks.py"),
    ),
    Row("Manifest.best_stage", lambda w: {"budget_macs": 1e9}, on=lambda w: w.bundle.manifest),
    Row(
        "Manifest.answering_stage",
        lambda w: {"stage": 1, "budget_macs": None},
        on=lambda w: w.bundle.manifest,
    ),
    Row("Manifest.keep", lambda w: {"stages": (1, 2)}, on=lambda w: w.bundle.manifest),
    Row(
        "Manifest.from_dict",
        lambda w: {"values": w.bundle.manifest.to_dict()},
        words={"values": ("anytimenet",)},
        doors=("core/manifest/versions.py",),
    ),
    Row(
        "Manifest.read",
        lambda w: {"path": w.saved},
        words={"path": ("path", "bundle")},
        doors=("core/manifest/folder.py",),
    ),
    Row("Manifest.write", lambda w: {"folder": w.folder}, on=lambda w: w.bundle.manifest),
    Row("Bundle", lambda w: {"net": w.net, "manifest": w.bundle.manifest}),
    Row(
        "Bundle.create",
        lambda w: {
            "net": w.net,
            "class_names": [["cat", "dog"]],
            "preprocessing": w.preprocessing,
            "val_accuracies": [0.5, 0.5, 0.5],
            "costs": w.costs,
        },
        words={
            "val_accuracies": ("accurac",),
            "costs": ("stages",),
            "coarser_val_accuracies": ("accurac",),
            "class_names": ("class_names", "classes"),
        },
        doors=(
            "bundle/counted.py",
            "bundle/structure.py",
            "core/manifest/manifest.py",
            "core/manifest/records.py",
            "core/manifest/checks.py",
        ),
    ),
    Row(
        "Bundle.load",
        lambda w: {"path": w.saved, "stages": 2, "device": "cpu"},
        words={"path": ("path", "bundle")},
        doors=("bundle/folder.py", "core/manifest/folder.py"),
    ),
    Row(
        "Bundle.save",
        lambda w: {"path": w.folder / "other", "overwrite": True},
        on=lambda w: w.bundle,
        doors=("core/manifest/folder.py", "bundle/folder.py"),
    ),
    Row("Bundle.keep", lambda w: {"stages": (1, 2)}, on=lambda w: w.bundle),
    Row("Bundle.count_costs", lambda w: {"rules": None}, on=lambda w: w.bundle),
    Row("Bundle.add_cost_table", lambda w: {"table": w.table}, on=lambda w: w.bundle),
    Row("Bundle.use_levels", lambda w: {"selection": None}, on=lambda w: w.bundle),
    Row("Bundle.subnet", lambda w: {"stage": 1}, on=lambda w: w.bundle),
    Row("Bundle.segment_for", lambda w: {"stage": 1}, on=lambda w: w.bundle),
    Row(
        "Bundle.predict",
        lambda w: {"image": np.zeros((8, 8), np.uint8), "stage": 1},
        on=lambda w: w.bundle,
        words=IMAGE,
        doors=IMAGES,
    ),
    Row(
        "Bundle.predict[budget]",
        lambda w: {"image": np.zeros((8, 8), np.uint8), "budget_macs": 1e9},
        on=lambda w: w.bundle,
        words=IMAGE,
        doors=IMAGES,
        left=("stage",),
    ),
    Row(
        "Bundle.predict_many",
        lambda w: {"images": [np.zeros((8, 8), np.uint8)], "stage": 1, "batch_size": 2, "skip_bad": False},
        on=lambda w: w.bundle,
        words={"images": ("image",)},
        doors=(*IMAGES, "core/images/sources.py"),
    ),
    Row(
        "Bundle.predict[deadline]",
        lambda w: {"image": np.zeros((8, 8), np.uint8), "deadline_ms": 1e6},
        on=lambda w: w.profiled,
        words=IMAGE,
        doors=IMAGES,
        left=("stage", "budget_macs", "target_accuracy"),
    ),
    Row(
        "Bundle.predict[target]",
        lambda w: {"image": np.zeros((8, 8), np.uint8), "target_accuracy": 0.5},
        on=lambda w: w.bundle,
        words=IMAGE,
        doors=IMAGES,
        left=("stage", "budget_macs", "deadline_ms"),
    ),
    Row(
        "Bundle.prepared",
        lambda w: {"backend": "eager", "threads": 1, "dtype": "float32", "device": "cpu"},
        on=lambda w: w.bundle,
        doors=BACKENDS,
    ),
    Row(
        "Bundle.predictor",
        lambda w: {"backend": "eager", "threads": 1, "dtype": "float32", "device": "cpu", "policy": None},
        on=lambda w: w.bundle,
        work=("bundle.bundle.table_for",),
        doors=BACKENDS,
    ),
    Row(
        "predictor",
        lambda w: {"net": w.bundle, "threads": 1, "dtype": "float32", "device": "cpu", "policy": None},
        work=("workflows.predicting.table_for", "runtime.predictor.Predictor.warm_up"),
        words={"net": ("net", "path", "bundle")},
        doors=(*BACKENDS, "core/manifest/folder.py", "bundle/folder.py"),
    ),
    Row(
        "Bundle.warm_up",
        lambda w: {"batch": 1},
        on=lambda w: w.bundle,
        work=("runtime.session.Session.warm_up",),
    ),
    Row("Bundle.use_exits", lambda w: {"thresholds": None}, on=lambda w: w.bundle),
    Row(
        "Bundle.upgraded",
        lambda w: {"stages": 2},
        on=lambda w: an.Bundle.load(w.saved, stages=1),
        doors=("bundle/folder.py", "bundle/structure.py"),
    ),
    Row("Contract", lambda w: {"target": "min_accuracy", "limit": 0.5, "confidence": 0.9}),
    Row(
        "Contract.from_dict",
        lambda w: {"values": an.Contract("min_accuracy", 0.5).to_dict()},
        words={"values": ("contract",)},
    ),
    Row(
        "choose_exits",
        lambda w: {
            "bundle": w.bundle,
            "data": w.splits,
            "contract": an.Contract("min_accuracy", 0.5),
            "device": "cpu",
        },
        work=("workflows.exits.stepped_outputs",),
        doors=(*DATA, *BACKENDS),
        words={"data": ("data",)},
    ),
    Row("Reporter", lambda w: {"progress": False, "title": "a"}, left=("console", "clock")),
    Row(
        "Prediction.of",
        lambda w: {
            "logits": (np.array([2.0, 1.0]),),
            "class_names": (("cat", "dog"),),
            "stage": 1,
            "elapsed_ms": 0.5,
            "macs": 9,
            "over_budget": False,
            "levels": (1,),
        },
        words={"class_names": ("class_names", "labels"), "levels": ("level",)},
    ),
    Row("FailedPrediction", lambda w: {"source": 3, "error": "it is no image"}),
    Row("Curve", lambda w: {"costs": (10, 20), "accuracies": (0.5, 0.6), "label": "a", "unit": "macs"}),
    Row("Curve.from_points", lambda w: {"costs": (20, 10), "accuracies": (0.5, 0.6)}),
    Row("Curve.accuracy_at", lambda w: {"budget": 15.0}, on=a_curve),
    Row("Curve.budget_for", lambda w: {"accuracy": 0.5, "interpolate": True}, on=a_curve),
    Row(
        "Curve.area",
        lambda w: {"low": 10.0, "high": 20.0, "log": False},
        on=a_curve,
        words={"low": ("low", "range"), "high": ("high", "range")},
    ),
    Row("Curve.expected_accuracy", lambda w: {"low": 10.0, "high": 20.0}, on=a_curve),
    Row("Curve.chosen_by", lambda w: {"validated": (0.5, 0.6)}, on=a_curve),
    Row(
        "Report",
        lambda w: {f.name: getattr(w.report, f.name) for f in fields(an.Report)},
        words={"budget_range": ("budget",)},
        doors=("evaluation/reports/sections.py",),
    ),
    Row("Report.curve", lambda w: {"cost": "macs", "label": "a"}, on=lambda w: w.report),
    Row("Report.from_dict", lambda w: {"values": w.report.to_dict()}, words={"values": ("report",)}),
    Row("Report.rich_table", lambda w: {"title": "a"}, on=lambda w: w.report),
    Row("Scheme"),
    Row("Scheme.build", lambda w: {"net": w.net}, on=lambda w: an.Scheme()),
    Row("Segmentation", lambda w: {"num_classes": (2,), "class_weights": (1.0, 2.0), "label_smoothing": 0.1}),
    Row("Experiment", lambda w: {"data": "digits", "net": "resnet_tiny", "stages": (1,), "workers": 0}),
    Row(
        "Experiment.from_dict",
        lambda w: {"values": {"data": "digits", "net": "resnet_tiny"}},
        words={"values": ("values", "key")},
    ),
    Row("TrainConfig.from_dict", lambda w: {"values": {"epochs": 3}}, words={"values": ("values", "key")}),
    Row("DataOptions.from_dict", lambda w: {"values": {"seed": 3}}, words={"values": ("values", "key")}),
    Row(
        "EANN",
        lambda w: {"members": [an.create_net("resnet_tiny", 2)]},
        doors=("nets/members/specs.py",),
        words={"members": ("member",)},
    ),
    Row(
        "ExitNet",
        lambda w: {
            "stem": None,
            "blocks": [conv(1, 4), conv(4, 8)],
            "exits_after": (1, 2),
            "num_classes": 2,
            "input_shape": (1, 8, 8),
            "input_spec": None,
        },
        words={
            "blocks": ("block", "exits_after"),
            "head": ("head",),
            "heads": ("head",),
            "stem": ("stem",),
            "input_shape": ("images", "input_shape"),
            "num_classes": ("classes",),
        },
        doors=("nets/chain/shapes.py", "nets/chain/chain.py", "nets/arguments.py"),
    ),
    *net_rows("AnytimeNet", lambda w: w.net, 1),
    *net_rows("EANN", lambda w: w.eann, 1),
    *net_rows("ExitNet", lambda w: w.exits, 1),
    *net_rows("ChainNet", lambda w: w.chain, 1),
    Row("EANN.place", lambda w: {"stage": 1}, on=lambda w: w.eann, words={"stage": ("stage",)}),
    Row(
        "SegmentationReport",
        lambda w: {f.name: getattr(w.maps_report, f.name) for f in fields(an.SegmentationReport)},
        doors=("evaluation/reports/report.py", "evaluation/reports/sections.py"),
    ),
    Row("SegmentationReport.rich_table", lambda w: {"title": "a"}, on=lambda w: w.maps_report),
    Row("SegmentationReport.curve", lambda w: {"cost": "macs", "label": "a"}, on=lambda w: w.maps_report),
    Row(
        "SegmentationReport.from_dict",
        lambda w: {"values": w.maps_report.to_dict()},
        words={"values": ("report",)},
    ),
    Row(
        "ChainNet",
        lambda w: {
            "blocks": [[Node("a", conv(1, 2), ("x",))]],
            "exits": ("a",),
            "heads": [a_head(2)],
            "num_classes": (2,),
            "in_channels": 1,
            "input_spec": None,
        },
        words={"blocks": ("block",), "exits": ("exit", "block"), "heads": ("head",)},
        doors=("nets/chain/graph.py",),
    ),
)

ROWS = {row.name: row for row in _ROWS}

EXCUSED = {
    "AnytimeNet": "the base class has no arguments",
    "SegmentationReport.class_table": "",
    **{
        f"{kind}.{method}": "what families and engines call, with tensors, shapes and devices of torch"
        for kind in ("AnytimeNet", "EANN", "ExitNet", "ChainNet")
        for method in ("check_batch", "node_shapes", "pieces", "spec")
    },
    **dict.fromkeys(
        (
            "ChainNet.features",
            "ExitNet.features",
            "Augmentation.draw",
            "Augmentation.on_tensor",
            "LargeImageAugmentation.apply",
            "LargeImageAugmentation.draw",
            "LargeImageAugmentation.on_tensor",
            "LargeImageAugmentation.read_image",
            "MaskAugmentation.on_tensor",
            "Mixing.draw",
            "Segmentation.class_map",
            "Segmentation.decode",
            "Segmentation.loss",
            "Segmentation.meter",
            "Contract.holds",
            "Contract.loss",
            "Contract.reached",
            "Reporter.note",
            "Reporter.phase",
            "Reporter.start",
            "Reporter.step",
            "Reporter.epoch",
            "Reporter.stop",
        ),
        "called with what the loaders, tasks, schemes and solvers made",
    ),
}
"""Public names that are not driven, and why."""


class hold_back(ExitStack):  # noqa: N801
    """Inside, the work behind the door of a row raises `Reached`."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row

    def __enter__(self) -> hold_back:
        for path in self.row.work:
            patch = pytest.MonkeyPatch()
            patch.setattr(f"anytimenet.{path}", reach)
            self.callback(patch.undo)
        return super().__enter__()


WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 2**40, 10**400, 0.5, -0.5, 1e308, math.nan, math.inf, -math.inf,
    np.int64(-1), np.float64("nan"), np.uint8(0), np.array([1.5, 2.5]), np.array(3),
    "", "no", "12", "a\0b", "\ud800", b"12", [], (), {}, [None], ["a", "b"], [[1]], {"a": 1}, {1: "b"},
    object(), int, range(2), lambda *_, **__: 3, torch.zeros(2, 2), Path("nowhere"),
)  # fmt: skip


def wrong_values() -> st.SearchStrategy[Any]:
    """Values of every kind; most arguments take few of them."""
    made = st.one_of(
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=5),
        st.binary(max_size=3),
        st.lists(st.one_of(st.integers(-3, 3), st.floats(), st.text(max_size=2), st.none()), max_size=3),
        st.dictionaries(st.text(max_size=2), st.integers(-3, 3), max_size=2),
    )
    return st.one_of(st.sampled_from(WRONG), made)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch().context() as patch:
        here = tmp_path_factory.mktemp("doors")
        patch.chdir(here)  # a word that happens to be a path is written here
        yield World(here)


def arguments_of(row: Row) -> list[str]:
    """The names of what the callable takes, and those that a row adds for its `**overrides`."""
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(row.find()).parameters.values()
    names = [p.name for p in found if p.kind in plain and p.name not in ("self", "cls")]
    return [name for name in dict.fromkeys((*names, *row.more)) if name not in row.left]


CASES = [(name, argument) for name, row in ROWS.items() for argument in arguments_of(row)]


def test_every_public_callable_has_a_row() -> None:
    public = {name for name in dir(an) if callable(getattr(an, name))}
    methods = {
        f"{name}.{method}"
        for name in public
        if inspect.isclass(getattr(an, name))
        for method, found in inspect.getmembers(getattr(an, name), callable)
        if not method.startswith("_") and found.__module__.startswith("anytimenet") and takes_something(found)
    }
    known = {name.partition("[")[0] for name in ROWS} | set(EXCUSED)
    assert sorted((public | methods) - known) == []


def takes_something(found: Callable[..., Any]) -> bool:
    return [name for name in inspect.signature(found).parameters if name not in ("self", "cls")] != []


@pytest.mark.parametrize(("name", "argument"), CASES, ids=lambda value: str(value))
def test_a_wrong_argument_is_refused_by_name_at_the_door(world: World, name: str, argument: str) -> None:
    row = ROWS[name]

    @settings(
        max_examples=row.examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(wrong_values())
    def drive(value: Any) -> None:
        check(row, world, argument, value)

    with hold_back(row):
        for value in WRONG:
            check(row, world, argument, value)
        drive()


def check(row: Row, world: World, argument: str, value: Any) -> None:
    """Calls with one argument replaced."""
    call, right = row.made(world)
    try:
        answer = call(**{**right, argument: value})
        if inspect.isgenerator(answer) or isinstance(answer, Iterator):
            next(answer, None)
    except Reached:
        return
    except (AnytimeNetError, ValueError, TypeError) as error:
        refused = error
    except BaseException as error:
        lines = "".join(traceback.format_tb(error.__traceback__)[-2:])
        raise AssertionError(
            f"{argument}={value!r}: a raw {type(error).__name__}: {error}\n{lines}"
        ) from None
    else:
        if is_dataclass(answer) and hasattr(answer, "to_dict") and not isinstance(answer, an.Manifest):
            json.dumps(answer.to_dict(), allow_nan=False)
        return
    told = str(refused)
    assert names(argument, row, told, value), f"{argument}={value!r}: the message does not name it: {told}"
    where = innermost(refused.__traceback__)
    doors = (*CHECKS, own_file(row.find()), *row.doors)
    assert where in doors, f"{argument}={value!r}: raised in {where}, below the door: {refused!r}"


def names(argument: str, row: Row, told: str, value: Any) -> bool:
    """Whether a message names the argument: by its name, by a word that says the same, or by a path given."""
    if isinstance(value, str | Path) and len(str(value)) > 1 and str(value) in told:
        return True
    words = (argument, *row.words.get(argument, ()))
    return any(re.search(rf"(?<![a-z]){re.escape(word)}", told, re.IGNORECASE) for word in words)


def innermost(trace: TracebackType | None) -> str:
    """The file of the last frame, as the project's files are called where it is one of them."""
    file = Path(traceback.extract_tb(trace)[-1].filename)
    return file.relative_to(HOME).as_posix() if file.is_relative_to(HOME) else str(file)


def own_file(found: Callable[..., Any]) -> str:
    return Path(inspect.getsourcefile(inspect.unwrap(found)) or "").relative_to(HOME).as_posix()


@pytest.mark.parametrize("name", ROWS)
def test_numpy_numbers_are_taken_where_plain_ones_are(world: World, name: str) -> None:
    row = ROWS[name]
    with hold_back(row):
        for argument, value in row.made(world)[1].items():
            kinds = {bool: np.bool_, int: np.int64, float: np.float64}
            if type(value) not in kinds:
                continue
            call, right = row.made(world)
            other = {**right, argument: kinds[type(value)](value)}
            answers = []
            for given_ in (right, other):
                try:
                    answers.append(call(**given_))
                except Reached:
                    answers.append(None)
            plain, found = answers
            if is_dataclass(plain) and type(plain).__eq__ is not object.__eq__:
                assert found == plain
                assert all(
                    type(getattr(found, f.name)) is type(getattr(plain, f.name)) for f in fields(plain)
                )
