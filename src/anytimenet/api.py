"""The front door from Python: `fit`, `evaluate`, `profile`, `load`."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import anytimenet
from anytimenet.bundle import Bundle
from anytimenet.core.cost_table import CostTable, Latency
from anytimenet.core.errors import DataError
from anytimenet.core.machine import machine_stamp
from anytimenet.core.preprocessing import Preprocessing
from anytimenet.costs import profile_segments, stage_costs, torch_segments
from anytimenet.data import (
    Augmentation,
    DataOptions,
    DataSplits,
    ImageSet,
    Loader,
    load_data,
    read_dataset,
    splits_from_datasets,
)
from anytimenet.evaluation import Report, make_report
from anytimenet.nets.contract import AnytimeNet
from anytimenet.tasks import Classification, Task
from anytimenet.training import Reporter, TrainConfig, TrainResult, collect_logits
from anytimenet.training import train as train_net
from anytimenet.training.loop import check_device, fabric_device

Split = Literal["train", "val", "test"]
_EVALUATION_BATCH = 256


def fit(
    net: AnytimeNet,
    train: Any,
    val: Any = None,
    config: TrainConfig | None = None,
    *,
    augmentation: Augmentation | None = None,
    task: Task | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Bundle:
    """Trains `net` and returns it as a bundle, with the best validated weights.

    Args:
        net: a net from `create_net`; it is trained in place.
        train: a data set by name ("digits", "folder:PATH"), `DataSplits`, or any map-style dataset of
            (image, label).
        val: a map-style dataset for validation; without it a part of the training data is set aside.
        config: how to train; the published CIFAR settings by default.
        augmentation: of training batches; none by default.
        task: loss, metric and decoding; classification by default.
        out: folder for checkpoints and logs; nothing is written without it.
        resume: go on from the last checkpoint in `out`.
        reporter: progress for people.
        provenance: what else the bundle should remember.

    Raises:
        ValueError: if the net's classes or channels are not those of the data.
        TrainingError: if training cannot go on; see `training.train`.

    >>> from anytimenet.nets import create_net
    >>> net = create_net("isresnext_tiny", num_classes=10, in_channels=1)
    >>> bundle = fit(net, "digits", config=TrainConfig(epochs=1, schedule="cosine"))
    >>> bundle.num_stages
    3
    """
    _check_type(net, AnytimeNet, "net", "create_net(NAME)")
    config = config or TrainConfig()
    _check_type(config, TrainConfig, "config", "TrainConfig(epochs=10)")
    splits = _as_splits(train, val, config.seed)
    _check_net(net, splits)
    if augmentation is not None and augmentation.pad >= min(splits.train.images.shape[1:3]):
        raise ValueError(
            f"pad {augmentation.pad} would shift images out of sight: less than a side is needed"
        )
    if task is None:
        task = Classification(net.num_classes, config.label_smoothing, augmentation)
    device, _ = fabric_device(config)
    identity = {
        "data": splits.fingerprint,
        "net": net.origin.name if net.origin else type(net).__name__,
        "net_args": net.origin.arguments if net.origin else {},
        "pad_and_flip": str(augmentation),
    }
    result = train_net(
        net,
        _training_loader(splits, task, config, device),
        _plain_loader(splits.val, splits.preprocessing, device),
        task,
        config,
        folder=Path(out) if out is not None else None,
        resume=resume,
        identity=identity,
        reporter=reporter,
    )
    return Bundle.create(
        net.cpu(),
        class_names=splits.class_names,
        preprocessing=splits.preprocessing,
        taxonomy=splits.taxonomy if len(splits.class_names) > 1 else None,
        val_accuracies=result.val_scores or None,
        provenance={**_provenance(splits, config, result), **(provenance or {})},
    )


def evaluate(
    bundle: Bundle,
    data: Any = None,
    *,
    split: Split = "test",
    per_class: bool = False,
    skip_bad: bool = False,
    device: str = "cpu",
) -> Report:
    """Judges every stage of a bundle on a split of some data.

    Args:
        bundle: from `fit` or `load`.
        data: data by name or `DataSplits`, of which a split is judged, or a map-style dataset or `ImageSet`,
            of which every image is; by default the data of the training, split in the same way.
        split: "train", "val" or "test".
        per_class: adds precision and recall of each class.
        skip_bad: leave out images that cannot be read.
        device: where the net runs.

    Raises:
        DataError: if the data has other classes than the bundle, or the split is empty.

    >>> from anytimenet.nets import create_net
    >>> bundle = fit(create_net("resnet_tiny", in_channels=1), "digits", config=TrainConfig(epochs=1))
    >>> report = evaluate(bundle, "digits")
    >>> report.count
    539
    """
    _check_type(bundle, Bundle, "bundle", "load(PATH)")
    if split not in ("train", "val", "test"):
        raise ValueError(f"split {split!r} does not exist: 'train', 'val' or 'test' is needed")
    check_device(device)
    images, name, judged = _evaluation_images(bundle, data, split, skip_bad)
    if len(images) == 0:
        raise DataError(f"the {judged} split of {name} holds no images; choose another split")
    batches = _plain_loader(images, bundle.manifest.preprocessing, torch.device(device))
    logits, labels = collect_logits(bundle.net.to(device), batches)
    bundle.net.cpu()
    return make_report(
        logits,
        labels,
        stage_costs(bundle.net, bundle.manifest.input_shape),
        data=name,
        split=judged,
        class_names=bundle.manifest.class_names[0],
        latencies=_latencies(bundle),
        per_class=per_class,
    )


def profile(
    bundle: Bundle,
    *,
    minutes: float = 1.0,
    batch_sizes: Sequence[int] = (1,),
    threads: int = 1,
    dtype: str = "float32",
    device: str = "cpu",
) -> CostTable:
    """Measures the latency of a bundle's segments on this machine and adds the table to the bundle.

    Steps and the jumps from the input come first; what does not fit within `minutes` is estimated and
    marked so.
    """
    _check_type(bundle, Bundle, "bundle", "load(PATH)")
    check_device(device)
    table = profile_segments(
        torch_segments(bundle.net, bundle.manifest.input_shape, dtype=dtype, device=device),
        bundle.num_stages,
        input_shape=bundle.manifest.input_shape,
        device=device,
        dtype=dtype,
        threads=threads,
        batch_sizes=batch_sizes,
        minutes=minutes,
    )
    bundle.add_cost_table(table)
    return table


def load(path: Path | str, stages: int | None = None) -> Bundle:
    """A saved bundle; with `stages=k` its first k stages only, and no more of its files is read.

    Raises:
        BundleError: if it is missing, damaged, tampered with, or of another format.
    """
    return Bundle.load(path, stages=stages)


def _as_splits(data: Any, val: Any, seed: int) -> DataSplits:
    if isinstance(data, DataSplits | str) and val is not None:
        raise DataError("data by name brings its own validation part; give `val` with a dataset only")
    if isinstance(data, DataSplits):
        return data
    if isinstance(data, str):
        return load_data(data, DataOptions(seed=seed))
    return splits_from_datasets(data, val, options=DataOptions(seed=seed, test_fraction=0))


def _evaluation_images(bundle: Bundle, data: Any, split: str, skip_bad: bool) -> tuple[ImageSet, str, str]:
    """Images to judge a bundle on, with the name of the data and of the split."""
    trained_on = bundle.manifest.provenance.get("data", {})
    p = bundle.manifest.preprocessing
    options = DataOptions(
        image_size=p.height if p.height == p.width else None,
        channels=p.channels,
        resample=p.resample,
        all_levels=len(bundle.manifest.class_names) > 1,
        skip_bad=skip_bad,
    )
    if not (data is None or isinstance(data, str | DataSplits)):
        images = data if isinstance(data, ImageSet) else read_dataset(data, options)
        _check_labels(images, bundle)
        return images, "dataset", "all"
    if not isinstance(data, DataSplits):
        by_name = trained_on.get("options") is not None
        if data is None and not by_name:
            raise DataError("this bundle was trained on data that has no name: give the data to judge it on")
        if by_name and data in (None, trained_on["name"]):
            # Exactly as in training, so that the splits are the same and nothing is decoded again.
            told = DataOptions(**trained_on["options"])
            options = replace(told, limit=None, skip_bad=told.skip_bad or skip_bad)
        try:
            data = load_data(data or trained_on["name"], options)
        except DataError as error:
            if data is not None:
                raise
            raise DataError(
                f"{error} (the bundle was trained on {trained_on['name']!r}, seen from where training was "
                "started: go there, or name the data)"
            ) from error
    if data.class_names != bundle.manifest.class_names:
        raise DataError(
            f"the classes of {data.name} are not those that the bundle knows: "
            f"{_shown(data.class_names[0])} instead of {_shown(bundle.manifest.class_names[0])}"
        )
    return getattr(data, split), data.name, split


def _check_type(value: object, wanted: type, name: str, example: str) -> None:
    if not isinstance(value, wanted):
        raise TypeError(
            f"{name} must be {wanted.__name__}, for example {example}, not {type(value).__name__}"
        )


def _check_labels(images: ImageSet, bundle: Bundle) -> None:
    known = [len(names) for names in bundle.manifest.class_names]
    highest = images.labels.max(axis=0).tolist()
    if len(highest) != len(known) or any(top >= count for top, count in zip(highest, known, strict=True)):
        raise DataError(
            f"the labels have {len(highest)} level(s) with ids up to {highest} and the bundle knows "
            f"{known} classes: give the labels that it was trained with"
        )


def _check_net(net: AnytimeNet, splits: DataSplits) -> None:
    if net.num_classes != splits.num_classes:
        raise ValueError(
            f"the net predicts {net.num_classes} classes and the data has {splits.num_classes}: "
            f"build it with num_classes={splits.num_classes}"
        )
    net.check_images(
        (splits.preprocessing.channels, splits.preprocessing.height, splits.preprocessing.width), 1
    )


def _training_loader(splits: DataSplits, task: Task, config: TrainConfig, device: torch.device) -> Loader:
    return Loader(
        splits.train,
        splits.preprocessing,
        batch_size=min(config.batch_size, len(splits.train)),
        augment=task.augmentation,
        shuffle=True,
        seed=config.seed,
        device=device,
        drop_last=True,
    )


def _plain_loader(images: ImageSet, preprocessing: Preprocessing, device: torch.device) -> Loader:
    return Loader(images, preprocessing, batch_size=_EVALUATION_BATCH, device=device)


def _provenance(splits: DataSplits, config: TrainConfig, result: TrainResult) -> dict[str, Any]:
    return {
        "data": {
            "name": splits.name,
            "fingerprint": splits.fingerprint,
            "options": splits.options and splits.options.to_dict(),
        },
        "config": config.to_dict(),
        "best_epoch": result.best_epoch,
        "seed": config.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "anytimenet": anytimenet.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def _latencies(bundle: Bundle) -> list[Latency] | None:
    """Batch-1 latency of each sub-network on this machine, if it was profiled here."""
    here = machine_stamp()["id"]
    for table in bundle.cost_tables.values():
        if table.machine["id"] == here:
            return [table.latency(0, stage) for stage in range(1, bundle.num_stages + 1)]
    return None


def _shown(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
