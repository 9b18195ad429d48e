"""`anytimenet train RECIPE`."""

from __future__ import annotations

import json as json_module
import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import tyro

from anytimenet.cli.derived import OF_RECIPE, Derived, derived
from anytimenet.cli.output import NotUnderstoodError, check_threads, emit
from anytimenet.core.checks import LARGEST
from anytimenet.core.launcher import launched_rank

if TYPE_CHECKING:
    from anytimenet.data import AnyAugmentation, Mixing
    from anytimenet.recipes import Experiment, StartedExperiment
    from anytimenet.schemes import Scheme
    from anytimenet.training import TrainConfig

_EXAMPLES = {"--net-args": "width=64", "--scheme-args": "gradients.window=2"}
_OF_FILES = ("colour_jitter", "hue", "lighting", "area", "ratio")
"""Changes of images that are read from files."""

if TYPE_CHECKING:
    _Training: TypeAlias = Derived
    _Images: TypeAlias = Derived
    _Augmentation: TypeAlias = Derived
    _Mixing: TypeAlias = Derived
else:
    _Training = derived("How the net is trained.", "preset", "TrainConfig", leave_out=("scheme", "seed"))
    _Images = derived(
        "How images are read, brought into shape and split.", "DataOptions", leave_out=("seed",)
    )
    _Augmentation = derived(
        "Changes of training images: colours, area and ratio of files, scale of images with masks.",
        *("Augmentation", "LargeImageAugmentation", "MaskAugmentation"),
        leave_out=("backend",),
    )
    _Mixing = derived("Blends of training images.", "Mixing")


@dataclass(frozen=True)
class Train:
    """Train a net by a recipe; every flag overrides the recipe.

    Writes to --out: bundle/ (the net), report.json, report.csv, curve.png, summary.txt, log.jsonl,
    tensorboard/ and checkpoints/. Examples:

      anytimenet train digits
      anytimenet train folder --data folder:PATH --image-size 32 --epochs 10 --out runs/mine
      anytimenet train folder --data folder:PATH --net efficientnet_lite0 --pretrained
      anytimenet train folder --data folder:PATH --net iresnext_small --net-args normalisation=shared
      anytimenet train --config runs/mine/experiment.json --seed 1 --out runs/again

    With --alone the joint net is in joint/, sub-network k in alone-k/, and optimality_gap.json and .png say
    what sharing costs each stage. `anytimenet list recipes` shows what there is.
    """

    recipe: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")] = None
    """Name of a recipe; not with --config."""
    config: Path | None = None
    """In place of a recipe: run the experiment in this experiment.json, or that of the folder of a run, with
    its --init and --teacher."""
    data: Annotated[str | None, tyro.conf.arg(help_behavior_hint=OF_RECIPE)] = None
    """Data by name (`anytimenet list data`), folder:PATH with one sub-folder of images a class, or masks:PATH
    with images and their masks."""
    net: Annotated[str | None, tyro.conf.arg(help_behavior_hint=OF_RECIPE)] = None
    """A registered net; see `anytimenet list nets`. timm:NAME is a net of timm with exits."""
    pretrained: bool = False
    """Start from trained weights of the net (extra `pretrained`), as --preset pretrained trains them, on
    crops of photographs. Image size and epochs follow from the data, for about ten minutes on two cores."""
    exits: int | None = None
    """Predictions of a net of another package (--net timm:NAME), its own answer included; 4 by default."""
    net_args: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...", help_behavior_hint=OF_RECIPE)
    ] = ()
    """Arguments of the net, for example normalisation=shared or slices=[2,2,4]."""
    scheme: Annotated[str | None, tyro.conf.arg(help_behavior_hint=OF_RECIPE)] = None
    """How the stages learn together; see `anytimenet list schemes`."""
    scheme_args: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...", help_behavior_hint=OF_RECIPE)
    ] = ()
    """Change the scheme: gradients.window=2 sets a field of a hook, weighting=sieve takes another member."""
    seed: Annotated[int | None, tyro.conf.arg(help_behavior_hint=OF_RECIPE)] = None
    """Draws weights, order, augmentation and validation split."""
    seeds: Annotated[str | None, tyro.conf.arg(metavar="N,N,...")] = None
    """Repeat with each of these seeds and report mean and spread."""
    out: Path | None = None
    """Folder of the run; runs/RECIPE by default."""
    init: Annotated[str | None, tyro.conf.arg(metavar="PATH|URL")] = None
    """Start from the weights of this bundle, a folder or a https URL, or of a checkpoint such as
    RUN/checkpoints/best.safetensors. The classes may differ: a net with exits is then trained as --pretrained
    says, and images are standardised as the bundle's."""
    teacher: Path | None = None
    """A bundle that the stages learn from, for a scheme with a given teacher."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""
    overwrite: bool = False
    """Replace a run that is in --out."""
    alone: bool = False
    """Also train every sub-network by itself, from fresh weights, and report the optimality gap."""
    alone_stages: Annotated[str | None, tyro.conf.arg(metavar="K,K,...")] = None
    """The same for these stages only."""
    workers: int | None = None
    """Processes that decode images which are read from files; by default one a core, 8 at most."""
    threads: int | None = None
    """CPU threads of PyTorch."""
    quiet: bool = False
    """No progress."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""
    training: _Training = field(default_factory=_Training)
    images: _Images = field(default_factory=_Images)
    augmentation: _Augmentation = field(default_factory=_Augmentation)
    mixing: _Mixing = field(default_factory=_Mixing)

    def run(self) -> None:
        """Trains, evaluates, saves and prints."""
        from anytimenet.core.errors import require

        torch = require("torch", "train")
        from anytimenet.recipes import run
        from anytimenet.recipes.run_folder import RunFolder

        if self.threads is not None:
            torch.set_num_threads(check_threads(self.threads))
            os.environ["OMP_NUM_THREADS"] = str(self.threads)  # Fabric would set another number
        if self.seed is not None and self.seeds is not None:
            raise ValueError("--seed is one run and --seeds several: give one of the two")
        start = self._start()
        experiment = self._changed(start.experiment)
        out = self.out or Path("runs") / (start.recipe or "experiment")
        options: dict[str, Any] = {
            "init": self.init or start.init,
            "teacher": self.teacher or start.teacher,
            "resume": self.resume,
            "overwrite": self.overwrite,
            "quiet": self.quiet,
            "recipe_name": start.recipe,
        }
        if self.alone or self.alone_stages is not None:
            self._run_alone(experiment, out, options)
        elif self.seeds is None:
            report = run(experiment, out, **options).report
            if launched_rank() == 0:
                text = RunFolder(out).summary.read_text(encoding="utf-8")
                self._print(out, report.to_dict(), text, "bundle/ is the net, curve.png the picture")
        else:
            self._run_seeds(experiment, out, self.seeds, options)

    def experiment(self) -> Experiment:
        """The recipe, or the experiment of --config, with every flag that was given."""
        return self._changed(self._start().experiment)

    def _start(self) -> StartedExperiment:
        from anytimenet.recipes import StartedExperiment, recipe

        if self.config is not None:
            if self.recipe is not None:
                raise ValueError(f"{self.recipe} and --config are two experiments: give one of the two")
            return StartedExperiment.read(self.config)
        if self.recipe is None:
            raise NotUnderstoodError("RECIPE is missing")
        return StartedExperiment(recipe(self.recipe).build(), self.recipe)

    def _changed(self, start: Experiment) -> Experiment:
        from anytimenet.recipes.runner import with_seed
        from anytimenet.training import preset

        training = self.training.given()
        start = self._tuned(start, training)
        config, arguments = start.config, dict(start.net_arguments)
        if (name := training.pop("preset", None)) is not None:
            config = replace(preset(name), seed=config.seed, scheme=config.scheme)
            if name.startswith("official_code"):
                arguments["init"] = "pytorch"
        given = parse_arguments("--net-args", self.net_args)
        if self.exits is not None and given.setdefault("exits", self.exits) != self.exits:
            raise ValueError(
                f"--exits {self.exits} and --net-args exits={given['exits']}: give one of the two"
            )
        steps = {"milestones", "lr_factors"} & set(training)
        if steps and training.get("schedule", config.schedule) != "multistep":
            raise ValueError("--milestones and --lr-factors are for --schedule multistep: give it, too")
        changed = replace(
            start,
            data=self.data or start.data,
            net=self.net or start.net,
            net_arguments={**arguments, **given},
            config=replace(config, **training, scheme=self._scheme(config)),
            options=self.images.change(start.options),
            augmentation=self._augmented(start.augmentation),
            mixing=self._mixed(start.mixing),
            workers=start.workers if self.workers is None else self.workers,
            images_seen=start.images_seen if config is start.config and "epochs" not in training else None,
        )
        return changed if self.seed is None else with_seed(changed, self.seed)

    def _tuned(self, start: Experiment, training: dict[str, Any]) -> Experiment:
        """The recipe for weights that come trained, where it starts from such."""
        from anytimenet.recipes.fine_tuning import fine_tuned, with_image_size
        from anytimenet.recipes.start import known_pretraining, starts_with_other_classes

        options = self.images.change(start.options)
        wanted = replace(start, data=self.data or start.data, options=options)
        if self.pretrained:
            known_pretraining(self.net or start.net)  # before anything is looked at
            return replace(fine_tuned(with_image_size(wanted)), pretrained=True)
        if self.init is None or self.config is not None or {"preset", "regime"} & set(training):
            return start
        return fine_tuned(start) if starts_with_other_classes(wanted, self.init) else start

    def _scheme(self, config: TrainConfig) -> str | Scheme:
        """The scheme by name, or a changed one."""
        named = config.scheme if self.scheme is None else self.scheme
        if not self.scheme_args:
            return named
        from anytimenet.schemes import override

        changes = parse_arguments("--scheme-args", self.scheme_args)
        return override(replace(config, scheme=named).chosen_scheme, changes)

    def _augmented(self, augmentation: AnyAugmentation) -> AnyAugmentation:
        """The augmentation with what was given; colours make it one of images that are read from files."""
        from anytimenet.data import Augmentation, LargeImageAugmentation, MaskAugmentation

        values = self.augmentation.given()
        of_files = any(values.get(name) for name in _OF_FILES)
        if isinstance(augmentation, Augmentation) and of_files:
            augmentation = LargeImageAugmentation(flip=augmentation.flip, cutout=augmentation.cutout)
        if isinstance(augmentation, LargeImageAugmentation) and "pad" in values:
            raise ValueError("--pad is for small images; large ones are cropped at random: leave --pad out")
        masks = isinstance(augmentation, MaskAugmentation)
        wrong = [f"--{name.replace('_', '-')}" for name in ("cutout", *_OF_FILES) if values.get(name)]
        if masks and wrong:
            raise ValueError(
                f"{' and '.join(wrong)}: for labels of whole images, and this recipe is for masks: "
                "leave them out"
            )
        if "scale" in values and not masks:
            raise ValueError("--scale is for images with masks, and this recipe is for labels: leave it out")
        known = {one.name for one in fields(augmentation)}
        return replace(augmentation, **{name: value for name, value in values.items() if name in known})

    def _mixed(self, mixing: Mixing | None) -> Mixing | None:
        from anytimenet.data import Mixing

        values = self.mixing.given()
        alphas = values if mixing is None else {**asdict(mixing), **values}
        return Mixing(**alphas) if any(alphas.values()) else None

    def _run_alone(self, experiment: Experiment, out: Path, options: dict[str, Any]) -> None:
        from anytimenet.recipes import run_alone

        if options.pop("init") is not None:
            where = "--init" if self.init else f'"init" of {self.config}'
            raise ValueError(f"--alone starts every net from fresh weights: leave {where} out")
        stages = None if self.alone_stages is None else parse_numbers("--alone-stages", self.alone_stages)
        seeds = None if self.seeds is None else parse_numbers("--seeds", self.seeds)
        gap = run_alone(experiment, out, stages=stages, seeds=seeds, **options)
        if launched_rank() == 0:
            files = "joint/, alone-K/, optimality_gap.json and optimality_gap.png"
            self._print(out, gap.to_dict(), gap.table(), files)

    def _run_seeds(self, experiment: Experiment, out: Path, seeds: str, options: dict[str, Any]) -> None:
        from anytimenet.core.files.writing import write_json
        from anytimenet.evaluation import plot_curves, spread_of
        from anytimenet.recipes import run_seeds

        runs = run_seeds(experiment, out, parse_numbers("--seeds", seeds), **options)
        if launched_rank() == 0:
            spread = spread_of([run.report for run in runs])
            write_json(out / "spread.json", spread.to_dict())
            plot_curves([spread], out / "curve.png")
            files = "one folder a seed, spread.json and curve.png"
            self._print(out, spread.to_dict(), spread.table(), files)

    def _print(self, out: Path, values: dict[str, Any], text: str, files: str) -> None:
        if emit(self.json, {"out": str(out), **values}):
            print(text)
            print(f"Everything is in {out}: {files}.")


def parse_arguments(flag: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    """`("slices=[2,2]", "init=msra")` of a flag to a dictionary; values are JSON where they parse as such.

    Raises:
        ValueError: for an entry without an equals sign, one given twice, or the classes of a net.

    >>> parse_arguments("--net-args", ("slices=[2,2]", "normalisation=shared"))
    {'slices': [2, 2], 'normalisation': 'shared'}
    """
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{flag} {pair}: KEY=VALUE is needed, for example {_EXAMPLES[flag]}")
        if name in arguments:
            raise ValueError(f"{flag} gives {name} twice")
        if (flag, name) == ("--net-args", "num_classes"):
            raise ValueError("--net-args num_classes: the data says how many; `info` has --num-classes")
        try:
            arguments[name] = json_module.loads(value)
        except json_module.JSONDecodeError:
            arguments[name] = value
    return arguments


def parse_numbers(flag: str, text: str) -> list[int]:
    """`"1,2,3"` of a flag to `[1, 2, 3]`.

    Raises:
        ValueError: for anything but different whole numbers with commas.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{flag} {text}: whole numbers with commas are needed, for example 1,2,3") from None
    if len(set(numbers)) != len(numbers) or min(numbers) < 0 or max(numbers) > LARGEST:
        raise ValueError(f"{flag} {text}: different numbers from 0 on are needed")
    return numbers
