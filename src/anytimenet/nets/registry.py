"""Nets by name: `create_net("isresnext_47", num_classes=10)`, `list_nets("is*")`, `register_net`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from typing import Any

import torch

from anytimenet.core.checks import class_counts, flag, instance, shape_of_images, texts, whole_number, words
from anytimenet.core.errors import NeedsValuesError, PretrainedError, suggest
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.core.registered import unknown
from anytimenet.nets.building import bounded, check_arguments
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.forms import check_form, check_forms, with_forms
from anytimenet.nets.prefixes import MARK, has_prefix, prefixes, split_name
from anytimenet.nets.pretrained.weights import PretrainedWeights

Builder = Callable[..., AnytimeNet]


@dataclass(frozen=True)
class NetEntry:
    """One registered name.

    Attributes:
        build: called with `num_classes` (a tuple, one entry per label level) and the overrides.
        input_shape: (C, H, W) of the images that its published costs are counted on.
        summary: one line for lists.
        paper: where it comes from.
        family: nets of one builder, or of builders that differ in size only, have the same.
        form: the number of the structure that `build` makes today; 1 for the first one.
        changed: what is different since the form before.
        pretrained: trained weights that it can start from; None where there are none.
    """

    name: str
    build: Builder
    input_shape: tuple[int, int, int]
    summary: str
    paper: str
    family: str
    form: int = 1
    changed: str = ""
    pretrained: PretrainedWeights | None = None


_ENTRIES: dict[str, NetEntry] = {}


def register_net(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    summary: str,
    paper: str = "",
    family: str = "",
    form: int = 1,
    changed: str = "",
    pretrained: PretrainedWeights | None = None,
) -> Callable[[Builder], Builder]:
    """Decorator that makes a builder function available as `create_net(name)`.

    The builder's first argument is `num_classes`, a tuple; its other arguments, all with defaults, are
    the overrides that `create_net` accepts. They must be JSON values (a bundle stores them).

    Args:
        name: how the net is asked for.
        input_shape: (C, H, W) of the images that its published costs are counted on.
        summary: one line for lists.
        paper: where it comes from.
        family: what lists group it under; its name if none is given.
        form: give the next number when the builder makes other layers from the same arguments than it did:
            bundles and checkpoints of an earlier form are then refused before anything is built.
        changed: what is different since the form before; the refusal says it.
        pretrained: trained weights that `create_net(NAME, pretrained=True)` fills the net with.

    Raises:
        ValueError: if the name is taken, or the form is no number from 1 on.
    """

    for what, value in (("name", name), ("summary", summary)):
        words(value, what)
    texts((paper,), "paper")
    texts((family,), "family")
    texts((changed,), "changed")
    form = whole_number(form, "form", 1)
    shape = shape_of_images(input_shape)
    if pretrained is not None:
        instance(pretrained, PretrainedWeights, "pretrained", "PretrainedWeights(pretraining, fill)")

    def register(build: Builder) -> Builder:
        if name in _ENTRIES and _ENTRIES[name].build is not build:
            raise ValueError(f"a net named {name!r} is registered already; choose another name")
        _ENTRIES[name] = NetEntry(
            *(name, build, shape, summary, paper, family or name, form, changed, pretrained)
        )
        return build

    return register


def forms_of(
    build: Builder, *, paper: str = "", family: str = "", form: int = 1, changed: str = ""
) -> Callable[..., Callable[..., None]]:
    """Registers one builder under several names: `forms_of(build)(name, input_shape, summary)(**arguments)`.

    The arguments are those of the builder that the name stands for; the rest is as in `register_net`, and
    `pretrained` is given beside the summary.
    """

    def named(
        name: str,
        input_shape: tuple[int, int, int],
        summary: str,
        pretrained: PretrainedWeights | None = None,
    ) -> Callable[..., None]:
        register = register_net(
            name,
            input_shape=input_shape,
            summary=summary,
            paper=paper,
            family=family,
            form=form,
            changed=changed,
            pretrained=pretrained,
        )

        def stands_for(**arguments: Any) -> None:
            register(partial(build, **arguments) if arguments else build)

        return stands_for

    return named


def create_net(
    name: str, num_classes: int | tuple[int, ...] = 10, *, pretrained: bool | str = False, **overrides: Any
) -> AnytimeNet:
    """Builds a registered net, or one of another package; the overrides are the arguments of its builder.

    `timm:NAME` and `torchvision:NAME` are nets of these packages with exits, `huggingface:PATH` a net of
    transformers in a folder; the overrides are then those of the adapter: `exits` or `taps`, `input_size`,
    `in_channels`.

    Args:
        name: of the net; see `list_nets`.
        num_classes: classes, or one number for each label level, fine level first.
        pretrained: start from trained weights, where there are some for that name: `net.pretraining` then
            says how images must be standardised, and data that is loaded for the net is. Its own classifier
            stays if it has `num_classes` classes; all other heads are new. A net of another package also
            takes the path of a file of weights.
        overrides: arguments of its builder.

    Raises:
        ValueError: for an unknown name or argument (with the nearest known one), invalid shapes, or sizes
            that no machine holds.
        MissingExtraError: if the package of the net or of the trained weights is not installed.
        PretrainedError: if there are no trained weights for that name, or the file is another one.

    >>> net = create_net("isresnext_tiny", num_classes=10)
    >>> net.num_stages
    3
    """
    entry = net_entry(name)
    known = list(inspect.signature(entry.build).parameters)[1:]
    for argument in overrides:
        if argument not in known:
            raise ValueError(f"{name} has no argument {argument!r}: {suggest(argument, known)}")
    levels = class_counts(num_classes)
    weights = None
    if "pretrained" in known:  # its builder loads them itself
        overrides |= {"pretrained": pretrained} if pretrained else {}
    elif isinstance(pretrained, str):
        raise PretrainedError(
            f"pretrained={pretrained!r}: {name} takes pretrained=True alone; weights of a bundle are given "
            "to training, as init"
        )
    elif flag(pretrained, "pretrained"):
        weights = pretrained_weights(name)
    check_arguments(name, {"num_classes": list(levels), **overrides})
    with bounded(name):
        net = entry.build(levels, **overrides)
    if not _is_settled(net.origin, name):
        arguments = with_forms({"num_classes": list(levels), **overrides}, _ENTRIES)
        net.origin = NetOrigin(name, arguments, form=entry.form)
    if weights is not None and weights.fill is not None:
        weights.fill(net)
    if pretrained and net.pretraining is None and entry.pretrained is not None:
        net.pretraining = entry.pretrained.pretraining
    return net


def pretrained_weights(name: str) -> PretrainedWeights:
    """The trained weights that the net `name` can start from; how its images must look, without building it.

    Raises:
        PretrainedError: if there are none, with the names that have some.
        ValueError: for an unknown name.

    >>> pretrained_weights("efficientnet_lite0").pretraining.image_size
    224
    """
    weights = net_entry(name).pretrained
    if weights is None:
        known = [key for key in list_nets() if _ENTRIES[key].pretrained is not None]
        known += [f"{prefix.name}{MARK}NAME" for prefix in prefixes() if prefix.pretraining is not None]
        raise PretrainedError(
            f"there are no pretrained weights for {name}; there are some for {' and '.join(known)}"
        )
    return weights


def rebuild_net(origin: NetOrigin) -> AnytimeNet:
    """The net that `origin` describes, with fresh weights.

    Raises:
        ValueError: if it or one of its members was saved in another form than its name builds today.
    """
    check_forms(origin, _ENTRIES)
    arguments = dict(origin.arguments)
    net = create_net(origin.name, tuple(arguments.pop("num_classes")), **arguments)
    return net if origin.keep is None else net.keep(origin.keep)


def check_saved_form(name: str, form: int) -> None:
    """Raises ValueError, with the reason and the cure, unless the net `name` is built in this form today."""
    check_form(name, form, net_entry(name))


def build_on_meta(build: Callable[[], AnytimeNet]) -> AnytimeNet:
    """What `build` makes, on the meta device; one that needs values runs for real, and they are dropped.

    >>> next(build_on_meta(lambda: create_net("resnet_tiny")).parameters()).is_meta
    True
    """
    try:
        with torch.device("meta"):
            return build()
    except NeedsValuesError:
        with torch.random.fork_rng(devices=[]):
            return build().to("meta")


def net_entry(name: str) -> NetEntry:
    """The registry's entry for `name`.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
        MissingExtraError: for a net of a package that is not installed.
    """
    words(name, "name of the net")
    if name not in _ENTRIES and has_prefix(name):
        return _entry_of_prefix(name)
    if name not in _ENTRIES:
        raise ValueError(f"no net is named {name!r}: {unknown(name, 'nets', _ENTRIES)}")
    return _ENTRIES[name]


def list_nets(pattern: str = "*") -> list[str]:
    """Registered names that match a shell pattern, sorted; of another package where its prefix is named.

    `list_nets("timm:*vit*")` lists nets of timm.

    Raises:
        MissingExtraError: if the pattern names the prefix of a package that is not installed.

    >>> list_nets("isresnext_4*")
    ['isresnext_47']
    """
    words(pattern, "pattern")
    named = pattern.partition(MARK)[0]
    found = {name for name in _ENTRIES if fnmatch(name, pattern)}
    for prefix in prefixes():
        if prefix.name == named and prefix.names is not None:
            names = (f"{prefix.name}{MARK}{inner}" for inner in prefix.names())
            found.update(name for name in names if fnmatch(name, pattern))
    return sorted(found)


def _is_settled(origin: NetOrigin | None, name: str) -> bool:
    """Whether the builder of `name` knew more than it was told, and says how it is built again."""
    if origin is None or not has_prefix(name):
        return False
    return origin.name.partition(MARK)[0] == name.partition(MARK)[0]


def _entry_of_prefix(name: str) -> NetEntry:
    prefix, inner = split_name(name)
    shape = prefix.input_shape(inner)
    known = None if prefix.pretraining is None else prefix.pretraining(inner)
    weights = None if known is None else PretrainedWeights(known)
    return NetEntry(
        name, partial(prefix.build, inner), shape, prefix.summary, "", prefix.name, pretrained=weights
    )
