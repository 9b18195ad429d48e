"""`anytimenet train RECIPE`."""

from __future__ import annotations

import json as json_module
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from anytimenet.cli.output import check_threads, emit_json
from anytimenet.core.checks import LARGEST
from anytimenet.core.launcher import launched_rank

if TYPE_CHECKING:
    from anytimenet.data import AnyAugmentation, Mixing
    from anytimenet.recipes import Experiment, Run
    from anytimenet.training import TrainConfig

_EXAMPLES = {"--net-args": "width=64", "--scheme-args": "gradients.window=2"}
_SWITCHES = ("skip_bad", "download", "in_memory")  # of the data; a recipe may have turned them on


@dataclass(frozen=True)
class Train:
    """Train a net by a recipe; every flag overrides the recipe.

    Writes to --out: bundle/ (the net), report.json, report.csv, curve.png, summary.txt, log.jsonl,
    tensorboard/ and checkpoints/. Examples:

      anytimenet train digits
      anytimenet train folder --data folder:PATH --image-size 32 --epochs 10 --out runs/mine
      anytimenet train folder --data folder:PATH --net iresnext_small --net-args normalisation=shared

    With --alone the joint net is in joint/, sub-network k in alone-k/, and optimality_gap.json and .png say
    what sharing costs each stage. `anytimenet list recipes` shows what there is.
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name of a recipe."""
    data: str | None = None
    """Data by name (`anytimenet list data`), folder:PATH with one sub-folder of images a class, or masks:PATH
    with images and their masks."""
    data_root: Path | None = None
    """Where the files of data by name are; $ANYTIMENET_DATA or ./data by default."""
    taxonomy: Annotated[str | None, tyro.conf.arg(metavar="FILE|nested|own")] = None
    """Predict coarser labels, too: a JSON file gives each class a coarser name or a list of them; nested
    takes the folders that class folders lie in; own the levels of cifar100, cub or a folder's
    taxonomy.json."""
    download: bool = False
    """Fetch the files of data by name that are missing; their checksums are verified."""
    net: str | None = None
    """A registered net; see `anytimenet list nets`."""
    net_args: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Arguments of the net, for example normalisation=shared or slices=[2,2,4]."""
    out: Path | None = None
    """Folder of the run; runs/RECIPE by default."""
    init: Path | None = None
    """Start from the weights of this bundle, or of a checkpoint such as RUN/checkpoints/best.safetensors; the
    classes may differ."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""
    overwrite: bool = False
    """Replace a run that is in --out."""
    seed: int | None = None
    """Draws weights, order, augmentation and validation split."""
    seeds: Annotated[str | None, tyro.conf.arg(metavar="N,N,...")] = None
    """Repeat with each of these seeds and report mean and spread."""
    alone: bool = False
    """Also train every sub-network by itself, from fresh weights, and report the optimality gap."""
    alone_stages: Annotated[str | None, tyro.conf.arg(metavar="K,K,...")] = None
    """The same for these stages only."""
    preset: (
        Literal[
            "paper",
            "paper_imagenet",
            "paper_cub",
            "official_code",
            "official_code_imagenet",
            "msdnet_cifar",
            "msdnet_imagenet",
            "ann_cifar",
            "ann_imagenet",
            "fast",
        ]
        | None
    ) = None
    """Take optimiser and schedule from this preset; the official ones also start as PyTorch's layers do."""
    epochs: int | None = None
    """Passes over the training images."""
    batch_size: int | None = None
    """Images in a step; of the recipe folder it follows the number of images."""
    lr: float | None = None
    """Peak learning rate."""
    momentum: float | None = None
    """Momentum of SGD."""
    weight_decay: float | None = None
    """Weight decay on every parameter."""
    decay_norms_and_biases: Literal["yes", "no"] | None = None
    """Whether norms and biases decay, too."""
    drop_last: Literal["yes", "no"] | None = None
    """Whether the images of an epoch that make no full batch are left out."""
    schedule: Literal["multistep", "cosine"] | None = None
    """Of the learning rate."""
    warmup: float | None = None
    """Fraction of the run over which the learning rate rises."""
    clip_norm: float | None = None
    """Largest norm of the gradient."""
    label_smoothing: float | None = None
    """Share of the target spread over all classes."""
    precision: Literal["32", "bf16"] | None = None
    """Number format of the forward pass."""
    device: Literal["auto", "cpu", "cuda"] | None = None
    """Where to train."""
    devices: int | None = None
    """Processes that share every batch, each on a device of its own; torchrun says it instead."""
    sync_batchnorm: bool = False
    """BatchNorm takes its statistics from all processes; on several CUDA devices only."""
    scheme: str | None = None
    """How the stages learn together; see `anytimenet list schemes`."""
    scheme_args: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Change the scheme: gradients.window=2 sets a field of a hook, weighting=sieve takes another member."""
    teacher: Path | None = None
    """A bundle that the stages learn from, for a scheme with a given teacher."""
    select: Literal["last", "mean"] | None = None
    """The best checkpoint is best for the last stage, or for the mean over stages."""
    checkpoint_steps: int | None = None
    """Steps between checkpoints inside an epoch."""
    statistics: Literal["auto", "running", "precise"] | None = None
    """BatchNorm statistics for judging: moving averages of training, or estimated at the end of an epoch."""
    statistics_batches: int | None = None
    """Training batches on which statistics are estimated at the end of an epoch."""
    flip: Literal["yes", "no"] | None = None
    """Mirror half of the training images; not for digits, letters and signs."""
    pad: int | None = None
    """Zero pixels around an image before a random crop back to size."""
    cutout: int | None = None
    """Side of a square that is blacked out in every training image."""
    colour_jitter: float | None = None
    """Brightness, contrast and saturation times 1 - X to 1 + X; of images that are read from files."""
    lighting: float | None = None
    """Strength of the shift along the principal colours of ImageNet; of images that are read from files."""
    mixup: float | None = None
    """Blend pairs of training images, with this alpha."""
    cutmix: float | None = None
    """Paste a rectangle of another training image, with this alpha."""
    workers: int | None = None
    """Processes that decode images which are read from files; by default one a core, 8 at most."""
    image_size: Annotated[str | None, tyro.conf.arg(metavar="N|HxW")] = None
    """Side of the square that images are resized and cropped to, or height and width such as 96x128."""
    shorter_side: int | None = None
    """Resize the shorter side to this first, then crop the centre; 256 of 224 for imagenet and cub."""
    channels: Literal[1, 3] | None = None
    """Read images as grey or RGB; by default as they are."""
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] | None = None
    """Filter that resizes; box at an integer factor is the exact mean."""
    val_fraction: float | None = None
    """Part of the training images that selects, where the data brings no validation part; 0 for none."""
    limit: int | None = None
    """At most this many training images, drawn by class."""
    images_per_class: int | None = None
    """At most this many training images of each class."""
    standardise: Literal["preset", "data", "cifar10"] | None = None
    """Mean and std of the input: published ones of data by name, of the training images, or of CIFAR-10."""
    ignore_index: Annotated[str | None, tyro.conf.arg(metavar="N|none")] = None
    """Pixel value of masks that is no class, or none; by default what their classes.json says, else 255."""
    in_memory: bool = False
    """Decode imagenet, cub or a folder of any size once into memory, instead of streaming the files."""
    skip_bad: bool = False
    """Leave out images that cannot be read, and say how many."""
    threads: int | None = None
    """CPU threads of PyTorch."""
    quiet: bool = False
    """No progress."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""

    def run(self) -> None:
        """Trains, judges, saves and prints."""
        from anytimenet.core.errors import require

        torch = require("torch", "train")
        from anytimenet.recipes import run, run_seeds

        if self.threads is not None:
            torch.set_num_threads(check_threads(self.threads))
            os.environ["OMP_NUM_THREADS"] = str(self.threads)  # Fabric would set another number
        if self.seed is not None and self.seeds is not None:
            raise ValueError("--seed is one run and --seeds several: give one of the two")
        experiment = self.experiment()
        out = self.out or Path("runs") / self.recipe
        options: dict[str, Any] = {
            "init": self.init,
            "teacher": self.teacher,
            "resume": self.resume,
            "overwrite": self.overwrite,
            "quiet": self.quiet,
            "recipe_name": self.recipe,
        }
        if self.alone or self.alone_stages is not None:
            self._run_alone(experiment, out, options)
        elif self.seeds is None:
            self._show(run(experiment, out, **options))
        else:
            self._show_seeds(run_seeds(experiment, out, parse_seeds(self.seeds), **options), out)

    def experiment(self) -> Experiment:
        """The recipe with every flag that was given."""
        from anytimenet.recipes import recipe
        from anytimenet.training import preset

        experiment = recipe(self.recipe).build()
        config = experiment.config
        net_arguments = dict(experiment.net_arguments)
        if self.preset is not None:
            config = replace(preset(self.preset), seed=config.seed, scheme=config.scheme)
        if self.preset is not None and self.preset.startswith("official_code"):
            net_arguments["init"] = "pytorch"
        switches = {name: getattr(experiment.options, name) or getattr(self, name) for name in _SWITCHES}
        options = replace(experiment.options, **switches)
        synchronised = config.sync_batchnorm or self.sync_batchnorm
        return replace(
            experiment,
            data=self.data or experiment.data,
            net=self.net or experiment.net,
            net_arguments={**net_arguments, **parse_arguments("--net-args", self.net_args)},
            config=replace(
                config, **self._given(config), **self._scheme(config), sync_batchnorm=synchronised
            ),
            options=replace(options, **self._given(options)),
            augmentation=self._augmentation(experiment.augmentation),
            mixing=self._mixing(experiment.mixing),
            workers=experiment.workers if self.workers is None else self.workers,
        )

    def _scheme(self, config: TrainConfig) -> dict[str, Any]:
        """The scheme by name, or a changed one."""
        if not self.scheme_args:
            return {} if self.scheme is None else {"scheme": self.scheme}
        from anytimenet.schemes import override

        named = config if self.scheme is None else replace(config, scheme=self.scheme)
        changes = parse_arguments("--scheme-args", self.scheme_args)
        return {"scheme": override(named.chosen_scheme, changes)}

    def _given(self, target: Any) -> dict[str, Any]:
        """The flags of this command that are fields of `target` and were given."""
        names = [f.name for f in fields(target) if f.name not in (*_SWITCHES, "sync_batchnorm", "scheme")]
        values: dict[str, Any] = {name: getattr(self, name, None) for name in names}
        if values.get("image_size") is not None:
            from anytimenet.data import parse_image_size

            values["image_size"] = parse_image_size(values["image_size"])
        words = {"yes": True, "no": False}
        values = {
            name: words.get(value, value) if isinstance(value, str) else value
            for name, value in values.items()
            if value is not None
        }
        if "ignore_index" in values:
            from anytimenet.data import parse_ignore_index

            values["ignore_index"] = parse_ignore_index(values["ignore_index"])
        return values

    def _augmentation(self, augmentation: AnyAugmentation) -> AnyAugmentation:
        from anytimenet.data import Augmentation, LargeImageAugmentation, MaskAugmentation

        colours = {"colour_jitter": self.colour_jitter, "lighting": self.lighting}
        if isinstance(augmentation, Augmentation) and any(colours.values()):
            augmentation = LargeImageAugmentation(flip=augmentation.flip, cutout=augmentation.cutout)
        large = isinstance(augmentation, LargeImageAugmentation)
        if large and self.pad is not None:
            raise ValueError("--pad is for small images; large ones are cropped at random: leave --pad out")
        flip = None if self.flip is None else self.flip == "yes"
        masks = isinstance(augmentation, MaskAugmentation)
        if masks and (self.cutout or any(colours.values())):
            raise ValueError(
                "--cutout, --colour-jitter and --lighting are for labels of whole images, and this recipe is "
                "for masks: leave them out"
            )
        values: dict[str, Any] = {"flip": flip} if masks else {"flip": flip, "cutout": self.cutout}
        values |= colours if large else {"pad": self.pad}
        return replace(augmentation, **{name: value for name, value in values.items() if value is not None})

    def _mixing(self, mixing: Mixing | None) -> Mixing | None:
        from anytimenet.data import Mixing

        if self.mixup is None and self.cutmix is None:
            return mixing
        before = {"mixup": 0.0, "cutmix": 0.0} if mixing is None else asdict(mixing)
        alphas = {
            name: before[name] if getattr(self, name) is None else getattr(self, name) for name in before
        }
        return Mixing(**alphas) if any(alphas.values()) else None

    def _run_alone(self, experiment: Experiment, out: Path, options: dict[str, Any]) -> None:
        from anytimenet.recipes import run_alone

        if options.pop("init") is not None:
            raise ValueError("--alone starts every net from fresh weights: leave --init out")
        gap = run_alone(
            experiment,
            out,
            stages=None if self.alone_stages is None else parse_numbers("--alone-stages", self.alone_stages),
            seeds=None if self.seeds is None else parse_seeds(self.seeds),
            **options,
        )
        if launched_rank() > 0:
            return
        if self.json is not None:
            emit_json({"out": str(out), **gap.to_dict()}, self.json)
        if self.json != "-":
            print(gap.table())
            print(f"Everything is in {out}: joint/, alone-K/, optimality_gap.json and optimality_gap.png.")

    def _show(self, run: Run) -> None:
        from anytimenet.recipes.run_folder import RunFolder

        if launched_rank() > 0:
            return
        if self.json is not None:
            emit_json({"out": str(run.folder), **run.report.to_dict()}, self.json)
        if self.json != "-":
            print(RunFolder(run.folder).summary.read_text(encoding="utf-8"))
            print(f"Everything is in {run.folder}: bundle/ is the net, curve.png the picture.")

    def _show_seeds(self, runs: list[Run], out: Path) -> None:
        from anytimenet.core.files.writing import write_json
        from anytimenet.evaluation import plot_curves, spread_of

        if launched_rank() > 0:
            return
        result = spread_of([run.report for run in runs])
        write_json(out / "spread.json", result.to_dict())
        plot_curves([result], out / "curve.png")
        if self.json is not None:
            emit_json({"out": str(out), **result.to_dict()}, self.json)
        if self.json != "-":
            print(result.table())
            print(f"Everything is in {out}: one folder a seed, spread.json and curve.png.")


def parse_arguments(flag: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    """`("slices=[2,2]", "init=msra")` of a flag to a dictionary; values are JSON where they parse as such.

    Raises:
        ValueError: for an entry without an equals sign, one given twice, or the classes of a net.

    >>> parse_arguments("--net-args", ("slices=[2,2]", "normalisation=shared"))
    {'slices': [2, 2], 'normalisation': 'shared'}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{flag} {pair}: KEY=VALUE is needed, for example {_EXAMPLES[flag]}")
        if name in found:
            raise ValueError(f"{flag} gives {name} twice")
        if (flag, name) == ("--net-args", "num_classes"):
            raise ValueError("--net-args num_classes: the data says how many; `info` has --num-classes")
        try:
            found[name] = json_module.loads(value)
        except json_module.JSONDecodeError:
            found[name] = value
    return found


def parse_seeds(text: str) -> list[int]:
    """`"1,2,3"` to `[1, 2, 3]`.

    Raises:
        ValueError: for anything but different whole numbers with commas.
    """
    return parse_numbers("--seeds", text)


def parse_numbers(flag: str, text: str) -> list[int]:
    """As `parse_seeds`, for another flag."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{flag} {text}: whole numbers with commas are needed, for example 1,2,3") from None
    if len(set(numbers)) != len(numbers) or min(numbers) < 0 or max(numbers) > LARGEST:
        raise ValueError(f"{flag} {text}: different numbers from 0 to {LARGEST} are needed")
    return numbers
