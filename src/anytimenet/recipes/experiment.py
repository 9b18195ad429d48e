"""One complete, runnable experiment: data, net, training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from anytimenet.core.checks import (
    flag,
    instance,
    optional,
    settle,
    texts,
    whole_number,
    whole_numbers,
    words,
    workers,
)
from anytimenet.core.records import JsonForm, Record, stored
from anytimenet.core.registered import unknown
from anytimenet.data import (
    AnyAugmentation,
    Augmentation,
    DataOptions,
    Mixing,
    augmentation_from,
    augmentation_to_dict,
)
from anytimenet.training import TrainConfig

_ON_CIFAR = ("one GPU; days on 2 CPU cores", "--data-root data")
_ON_IMAGENET = ("four GPUs with --devices 4, or one large one", "--data imagenet:PATH")
"""The usual hardware, and what the command says of the data."""
CUB = "--data cub:PATH"


@dataclass(frozen=True)
class Experiment(Record):
    """What `anytimenet.run` needs to train a net and evaluate it.

    Args:
        data: a data set by name, "digits" or "folder:PATH".
        net: a registered net.
        net_arguments: overrides of the net's builder; channels and classes follow from the data.
        pretrained: start the net from trained weights; see `create_net`.
        options: how the data is read and split.
        config: how the net is trained.
        augmentation: of training images; do not flip digits, letters or signs. Where the data is read from
            files, an `Augmentation` becomes a `LargeImageAugmentation` of the same flip and cutout; where
            images have masks, a `MaskAugmentation` of the same flip and pad.
        stages: keep only these stages of the net and draw weights anew for their shapes: `(2,)` is
            sub-network 2 trained alone. None trains the whole net.
        mixing: mixup or CutMix of training batches.
        workers: processes that decode images which are read from files; None takes the cores of the machine.
            No part of `to_dict`: what comes out is the same.
        images_seen: in place of `config.epochs`, about how many training images are shown in all, counted in
            images of 112 pixels a side: the epochs follow, see `recipes.image_budget`.
    """

    data: str
    net: str
    net_arguments: Mapping[str, Any] = field(default_factory=dict)
    options: DataOptions = field(default_factory=DataOptions)
    config: TrainConfig = field(default_factory=TrainConfig)
    augmentation: AnyAugmentation = field(
        default_factory=Augmentation,
        metadata=stored(write=augmentation_to_dict, read=augmentation_from),
    )
    stages: tuple[int, ...] | None = None
    mixing: Mixing | None = None
    workers: int | None = field(default=None, metadata=stored(here=True))
    pretrained: bool = False
    images_seen: int | None = None
    json_form = JsonForm(
        keys=(
            *("data", "net", "net_arguments", "pretrained", "options", "config", "augmentation", "mixing"),
            *("stages", "images_seen"),
        ),
        strict=True,
        defaults=True,
    )

    def __post_init__(self) -> None:
        texts((self.data,), "data")
        settle(self, "net", words)
        instance(self.net_arguments, Mapping, "net_arguments", '{"width": 64}')
        if "num_classes" in self.net_arguments:
            raise ValueError("net_arguments has num_classes, and the data says how many: leave it out")
        settle(self, "pretrained", flag)
        instance(self.options, DataOptions, "options", "DataOptions()")
        instance(self.config, TrainConfig, "config", "TrainConfig(epochs=10)")
        instance(self.augmentation, get_args(AnyAugmentation), "augmentation", "Augmentation()")
        settle(self, "stages", optional, whole_numbers, 1)
        if self.mixing is not None:
            instance(self.mixing, Mixing, "mixing", "Mixing(mixup=0.2)")
        settle(self, "workers", optional, workers)
        settle(self, "images_seen", optional, whole_number, 1)


@dataclass(frozen=True)
class Recipe:
    """A function that returns an experiment, with what to expect of it.

    Attributes:
        name: as in `anytimenet train NAME`.
        build: returns the experiment.
        summary: one line.
        command: how to run it.
        hardware: what it needs.
        minutes: roughly how long it takes there.
        expected: what comes out, with its source.
    """

    name: str
    build: Callable[[], Experiment]
    summary: str
    command: str
    hardware: str
    minutes: float
    expected: str

    @classmethod
    def of(
        cls,
        name: str,
        experiment: Experiment,
        *,
        summary: str,
        minutes: float,
        expected: str,
        hardware: str | None = None,
        flags: str | None = None,
    ) -> Recipe:
        """A row of a table: always the same experiment, of which each caller gets a copy of its own.

        Where data is the user's, it is ImageNet and takes four GPUs unless `flags` and `hardware` say else.
        """

        def build() -> Experiment:
            return replace(experiment, net_arguments=dict(experiment.net_arguments))

        usual_hardware, usual_flags = _ON_CIFAR if experiment.data else _ON_IMAGENET
        command = f"anytimenet train {name} {usual_flags if flags is None else flags}".rstrip()
        return cls(name, build, summary, command, hardware or usual_hardware, minutes, expected)


_RECIPES: dict[str, Recipe] = {}


def register_recipe(
    *, summary: str, command: str, hardware: str, minutes: float, expected: str
) -> Callable[[Callable[[], Experiment]], Callable[[], Experiment]]:
    """Decorator that makes a function available as a recipe under its own name.

    Raises:
        ValueError: if the name is taken.
    """

    def register(build: Callable[[], Experiment]) -> Callable[[], Experiment]:
        register_table([Recipe(build.__name__, build, summary, command, hardware, minutes, expected)])
        return build

    return register


def register_table(recipes: Iterable[Recipe]) -> None:
    """Makes recipes available under their names.

    Raises:
        ValueError: if a name is taken.
    """
    for one in recipes:
        if one.name in _RECIPES:
            raise ValueError(f"a recipe named {one.name!r} is registered already; choose another name")
        _RECIPES[one.name] = one


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: for an unknown name, with the nearest known one.

    >>> recipe("digits").build().data
    'digits'
    """
    words(name, "name of the recipe")
    if name not in _RECIPES:
        raise ValueError(f"no recipe is named {name!r}: {unknown(name, 'recipes', _RECIPES)}")
    return _RECIPES[name]


def list_recipes() -> list[str]:
    """Names of all recipes, sorted."""
    return sorted(_RECIPES)
