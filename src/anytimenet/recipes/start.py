"""What a run starts from: its data, and its net with the first weights."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anytimenet.core.errors import DataError, require
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.data import AnyAugmentation, DataSplits, augmentation_for, load_data
from anytimenet.nets import (
    AnytimeNet,
    build_on_meta,
    create_net,
    net_entry,
    pretrained_weights,
    rebuild_net,
)
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.recipes.experiment import Experiment
from anytimenet.recipes.fine_tuning import with_epochs
from anytimenet.recipes.run_folder import RunFolder
from anytimenet.training.regimes import regime_for
from anytimenet.workflows.plan import Plan
from anytimenet.workflows.starting import manifest_of, pretraining_of, start_from


@dataclass(frozen=True, eq=False)
class Start:
    """An experiment, ready for its first step.

    Attributes:
        experiment: what is run.
        splits: its data.
        net: with the weights that it starts from.
        init: where those came from; None where they were drawn.
        teacher: a bundle that the stages learn from.
    """

    experiment: Experiment
    splits: DataSplits
    net: AnytimeNet
    init: Path | str | None = None
    teacher: Path | str | None = None

    @classmethod
    def of(
        cls, experiment: Experiment, init: Path | str | None = None, teacher: Path | str | None = None
    ) -> Start:
        """Reads the data and builds the net.

        Raises:
            DataError: if the data cannot be used, or leaves nothing to evaluate the net on.
            ValueError: if net and data do not fit.
        """
        splits = load_experiment_data(experiment, init)
        experiment = with_epochs(experiment, splits)
        net = build_net(experiment, splits)
        if init is not None:
            start_from(net, init)
        require("matplotlib", "train")  # a run would only stumble over it at its end
        if len(splits.test) == 0 and len(splits.val) == 0:
            raise DataError(
                f"{splits.name} leaves no images to evaluate the net on: set a part of them aside"
            )
        return cls(experiment, splits, net, init, teacher)

    @property
    def augmentation(self) -> AnyAugmentation:
        """The experiment's, as these images take it."""
        return augmentation_for(self.splits.train, self.experiment.augmentation)

    def provenance(self, recipe_name: str) -> dict[str, Any]:
        """What the bundle remembers beside what `fit` notes."""
        return {
            "recipe": recipe_name,
            "experiment": self.experiment.to_dict(),
            "init": str(self.init or ""),
            "teacher": str(self.teacher or ""),
        }

    def check(self, folder: RunFolder) -> None:
        """Raises what training would be refused with, before anything in `folder` is deleted for it."""
        folder.check_apart(init=self.init, teacher=self.teacher)
        folder.check_clearable()
        Plan.of(
            self.net,
            self.splits,
            self.experiment.config,
            augmentation=self.augmentation,
            teacher=self.teacher,
            provenance=self.provenance(""),
        ).check()


def load_experiment_data(experiment: Experiment, init: Path | str | None = None) -> DataSplits:
    """The experiment's data, as the weights expect it that it starts from.

    Raises:
        DataError: if the recipe leaves the data to the user and none was named.
    """
    if not experiment.data:
        raise DataError(
            "this recipe needs data: give data='folder:PATH', with one sub-folder of images a class, "
            "data='imagenet:PATH' or data='cub:PATH'; for segmentation data='camvid:PATH' or "
            "data='masks:PATH'"
        )
    pretraining = pretraining_of(init)
    if pretraining is None and (experiment.pretrained or experiment.net_arguments.get("pretrained")):
        pretraining = known_pretraining(experiment.net)
    return load_data(experiment.data, experiment.options, pretraining=pretraining)


def known_pretraining(net: str) -> Pretraining | None:
    """How images look to the trained weights of a net; None where its package does not say.

    Raises:
        PretrainedError: if there are no such weights.
    """
    entry = net_entry(net)
    if entry.pretrained is None and "pretrained" in inspect.signature(entry.build).parameters:
        return None
    return pretrained_weights(net).pretraining


def starts_with_other_classes(experiment: Experiment, init: Path | str) -> bool:
    """Whether `init` is a bundle of a net with exits on the way, whose classes are not those of the data."""
    manifest = manifest_of(init)
    origin = None if manifest is None else manifest.net
    if manifest is None or origin is None:
        return False
    net = build_on_meta(lambda: rebuild_net(origin))
    if regime_for(net, pretrained=True) == "joint":
        return False
    return load_experiment_data(experiment, init).num_classes != net.num_classes


def build_net(experiment: Experiment, splits: DataSplits) -> AnytimeNet:
    """The experiment's net for that data, with weights drawn from the seed."""
    torch.manual_seed(experiment.config.seed)
    arguments = {"in_channels": splits.preprocessing.channels, **experiment.net_arguments}
    if experiment.pretrained:
        arguments.setdefault("pretrained", True)
    if "input_size" in inspect.signature(net_entry(experiment.net).build).parameters:
        arguments.setdefault("input_size", [splits.preprocessing.height, splits.preprocessing.width])
    net = create_net(experiment.net, splits.num_classes, **arguments)
    if experiment.stages is None:
        return net
    net = net.keep(experiment.stages)
    torch.manual_seed(experiment.config.seed)
    draw_weights(net)
    return net
