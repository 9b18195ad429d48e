"""Recipes say what they run: registered nets, known data, the published settings."""

import shlex
from dataclasses import replace

import pytest
import torch

from anytimenet.cli.parsing import flags_of, parse
from anytimenet.cli.train import Train
from anytimenet.data.load import data_names
from anytimenet.nets import create_net, list_nets
from anytimenet.recipes import Experiment, list_recipes, recipe
from anytimenet.recipes.start import build_net
from anytimenet.schemes import BlockDependent, GroupedLosses
from anytimenet.training import preset


def trained(words: str) -> Experiment:
    """What `anytimenet train` with these words trains."""
    experiment = parse("train", Train, words.split()).experiment()
    assert isinstance(experiment, Experiment)
    return experiment


CLASSES = {"cifar10": (10,), "cifar100": (100,), "digits": (10,), "": (200,)}


@pytest.fixture(params=list_recipes())
def known(request):
    return recipe(request.param)


def net_of(experiment: Experiment):
    with torch.device("meta"):
        net = create_net(experiment.net, CLASSES[experiment.data], **experiment.net_arguments)
    return net if experiment.stages is None else net.keep(experiment.stages)


def test_net_and_data_exist_and_the_net_can_be_built(known):
    experiment = known.build()
    assert experiment.net in list_nets()
    assert experiment.data in {"", *data_names()}
    assert net_of(experiment).num_stages >= 1


def test_the_command_is_one_and_trains_this_recipe(known):
    words = shlex.split(known.command)
    assert words[:3] == ["anytimenet", "train", known.name]
    flags = {word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    assert flags <= set(flags_of(Train))
    # A recipe that leaves the data open has to say so in its command.
    assert ("data" in flags) == (known.build().data == "")


def test_what_a_reader_is_told(known):
    assert known.summary
    assert known.hardware
    assert known.expected
    assert known.minutes > 0
    assert len(known.summary) <= 100


@pytest.mark.parametrize(
    ("name", "net", "batch", "epochs", "divided_after"),
    [
        ("isresnext_cifar", "isresnext_47", 64, 300, [150, 225]),
        ("iresnext_cifar100", "iresnext_65", 64, 300, [150, 225]),
        ("isresnext_imagenet", "isresnext_62_imagenet", 96, 90, [30, 60]),
        ("isresnext_cub", "isresnext_50_cub", 64, 150, [75, 112.5]),
        ("msdnet_cifar_batch_5", "msdnet_cifar_batch_5", 64, 300, [150, 225]),
        ("msdnet_imagenet_step4", "msdnet_imagenet_step4", 256, 90, [30, 60]),
    ],
)
def test_published_settings(name, net, batch, epochs, divided_after):
    experiment = recipe(name).build()
    config = experiment.config
    assert (experiment.net, config.batch_size, config.epochs) == (net, batch, epochs)
    assert [epochs * milestone for milestone in config.milestones] == pytest.approx(divided_after)
    assert (config.lr, config.momentum, config.nesterov, config.weight_decay) == (0.1, 0.9, True, 1e-4)
    assert (config.schedule, config.warmup, config.label_smoothing) == ("multistep", 0.0, 0.0)
    assert experiment.options.val_fraction is None  # the published share of the data set
    assert experiment.augmentation.flip
    assert getattr(experiment.augmentation, "pad", 4) == 4


@pytest.mark.parametrize(
    "net", ["resnext_65", "msdnet_cifar_10", "msdnet_imagenet_step6", "resnext_29_exits"]
)
def test_every_baseline_has_a_recipe(net):
    assert net in {recipe(name).build().net for name in list_recipes()}


def test_the_official_code_differs_in_nesterov_only():
    assert preset("official_code") == replace(preset("paper"), nesterov=False)
    assert preset("official_code_imagenet") == replace(preset("msdnet_imagenet"), nesterov=False)
    experiment = trained("msdnet_imagenet_step4 --preset official_code_imagenet --data imagenet:PATH")
    assert experiment.config == preset("official_code_imagenet")
    assert experiment.net_arguments["init"] == "pytorch"


@pytest.mark.parametrize(
    ("name", "net", "named", "data"),
    [
        ("ann_resnet_45", "resnet_ann_45", "ann_cifar", "cifar100"),
        ("ann_resnet_81", "resnet_ann_81", "ann_cifar", "cifar100"),
        ("ann_resnet_153", "resnet_ann_153", "ann_cifar", "cifar100"),
        ("ann_msdnet_26", "ann_msdnet_26", "ann_imagenet", ""),
        ("ann_msdnet_36", "ann_msdnet_36", "ann_imagenet", ""),
        ("ann_msdnet_41", "ann_msdnet_41", "ann_imagenet", ""),
    ],
)
def test_the_anytime_neural_network_trains_on_all_images_with_sieve(name, net, named, data):
    experiment = recipe(name).build()
    assert (experiment.net, experiment.data, experiment.options.val_fraction) == (net, data, 0)
    assert experiment.config == replace(preset(named), scheme="sieve")


@pytest.mark.parametrize(("name", "data"), [("msdnet_cifar_7", "cifar100"), ("msdnet_cifar_10", "cifar10")])
def test_msdnet_for_anytime_prediction_trains_on_all_images(name, data):
    experiment = recipe(name).build()
    assert (experiment.net, experiment.data, experiment.options.val_fraction) == (name, data, 0)
    assert experiment.config == preset("msdnet_cifar")


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("ranet_cifar_8", "official_code"),
        ("ranet_cifar_6_growing", "official_code"),
        ("ranet_imagenet", "official_code_imagenet"),
        ("ranet_imagenet_wide", "official_code_imagenet"),
    ],
)
def test_ranet_trains_on_all_images_without_nesterov(name, named):
    experiment = recipe(name).build()
    assert (experiment.net, experiment.options.val_fraction) == (name, 0)
    assert experiment.config == preset(named)
    assert not experiment.config.nesterov
    assert "init" not in experiment.net_arguments  # He, which their loop really applies


def test_their_adaloss_is_a_flag_away():
    config = trained("ann_resnet_45 --scheme adaloss --scheme-args weighting.final_extra=1").config
    assert config.chosen_scheme.weighting.final_extra == 1
    assert replace(config, scheme="sieve") == recipe("ann_resnet_45").build().config


@pytest.mark.parametrize(
    ("name", "first_blocks"),
    [
        ("block_dependent_cifar100", (1, 1, 1, 2, 3, 4, 5)),
        ("block_dependent_cifar100_final", (1, 1, 1, 2, 3, 4, 1)),
        ("block_dependent_cifar100_grouped", (1, 1, 1, 4, 4, 4, 4)),
        ("block_dependent_cifar100_local", (1, 2, 3, 4, 5, 6, 7)),
        ("block_dependent_cifar100_distilled", (1, 1, 1, 2, 3, 4, 5)),
        ("block_dependent_imagenet", (1, 1, 2, 3, 4)),
        ("block_dependent_imagenet_grouped", (1, 1, 1, 4, 4)),
    ],
)
def test_block_dependent_recipes_cut_gradients_where_the_paper_does(name, first_blocks):
    experiment = recipe(name).build()
    rule = experiment.config.chosen_scheme.gradients
    assert isinstance(rule, BlockDependent | GroupedLosses)
    assert rule.first_blocks(net_of(experiment).num_stages) == first_blocks
    assert not experiment.config.nesterov


def test_settings_of_neighbours_are_flags():
    flags = "--decay-norms-and-biases no --drop-last no --standardise cifar10"
    experiment = trained(f"iresnext_cifar100 {flags}")
    before = recipe("iresnext_cifar100").build()
    assert experiment.config == replace(before.config, decay_norms_and_biases=False, drop_last=False)
    assert experiment.options == replace(before.options, standardise="cifar10")


def test_the_published_distillation_is_added_to_the_labels():
    targets = recipe("block_dependent_cifar100_distilled").build().config.chosen_scheme.targets
    assert (targets.mixing, targets.temperature, targets.label_weight) == (0.25, 1.5, 1.0)
    assert (targets.teacher, targets.squared_temperature) == ("last", False)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            "block_dependent_cifar100 --scheme anytime",
            "msdnet_cifar_7 --preset official_code --val-fraction 0",
        ),
        (
            "block_dependent_imagenet --scheme anytime --data imagenet:PATH",
            "msdnet_imagenet_step4 --preset official_code_imagenet --data imagenet:PATH "
            "--colour-jitter 0 --lighting 0",
        ),
    ],
)
def test_block_dependent_recipes_with_the_plain_sum_are_msdnets_official_code(ours, theirs):
    assert trained(ours) == trained(theirs)


def test_a_preset_changes_optimiser_and_schedule_and_leaves_the_scheme():
    config = trained("ann_resnet_45 --preset fast").config
    assert config == replace(preset("fast"), scheme="sieve")
    assert trained("digits --preset paper").config == preset("paper")


def test_a_sub_network_alone_has_the_published_size():
    """Thinnest and shallowest sub-network of section 4.1."""
    for name, params in (("thin_alone", 49_162), ("shallow_alone", 13_514)):
        net = net_of(recipe(name).build())
        assert sum(p.numel() for p in net.parameters()) == params


def test_the_weights_of_kept_stages_follow_the_seed():
    class Splits:
        num_classes = (10,)

        class preprocessing:  # noqa: N801
            channels = 1

    experiment = Experiment(data="digits", net="iresnext_tiny", stages=[2])
    assert experiment.stages == (2,)
    assert experiment.to_dict()["stages"] == [2]
    one, same = (build_net(experiment, Splits) for _ in range(2))
    other = build_net(replace(experiment, config=replace(experiment.config, seed=1)), Splits)
    assert one.branches == (2,)
    assert torch.equal(one.stem.weight, same.stem.weight)
    assert not torch.equal(one.stem.weight, other.stem.weight)
