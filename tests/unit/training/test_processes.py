"""What surrounds training with several processes and needs none: counting them, BatchNorm's conversion."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import nn

from anytimenet.core.errors import SharedTrainingError, TrainingError
from anytimenet.core.launcher import launched_count, launched_rank
from anytimenet.nets import create_net
from anytimenet.training import TrainConfig, check_share
from anytimenet.training.launching import check_can_start, fabric_options, process_count
from anytimenet.training.processes import Processes, generator_states, set_generator_states
from anytimenet.training.sync_batchnorm import to_plain, to_synchronised

LAUNCHER = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID")


@pytest.fixture
def launcher(monkeypatch):
    """Sets the variables of a launcher, given as keywords, and no others."""

    def start(**variables: str) -> None:
        for name in LAUNCHER:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return start


@pytest.mark.parametrize(
    ("variables", "rank", "count"),
    [
        ({}, 0, 1),
        ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}, 3, 4),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "1", "NODE_RANK": "0"}, 1, 2),
        ({"WORLD_SIZE": "8"}, 0, 1),  # of something else: no launcher leaves the rank out
    ],
)
def test_the_environment_tells_which_process_this_is(variables, rank, count):
    assert (launched_rank(variables), launched_count(variables)) == (rank, count)


def test_a_launcher_decides_how_many_processes_there_are(launcher):
    launcher(WORLD_SIZE="4", RANK="0", LOCAL_RANK="0", LOCAL_WORLD_SIZE="2")
    assert process_count(1) == process_count(4) == 4
    options = fabric_options(TrainConfig(device="cpu"))
    assert (options["devices"], options["num_nodes"]) == (2, 2)
    with pytest.raises(TrainingError, match=r"started 4 processes and 2 are asked for: leave devices=N out"):
        process_count(2)


def test_a_launcher_of_one_process_starts_no_second_one(launcher):
    launcher(WORLD_SIZE="1", RANK="0", LOCAL_RANK="0", TORCHELASTIC_RUN_ID="none")
    assert process_count(1) == 1
    with pytest.raises(TrainingError, match="started 1 process and 2 are asked for"):
        process_count(2)


def test_a_program_that_is_no_script_starts_no_other_processes(launcher, monkeypatch):
    launcher()
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    with pytest.raises(TrainingError, match="it is no script: save it to a file"):
        check_can_start(2)
    check_can_start(1)
    launcher(WORLD_SIZE="2", RANK="0", LOCAL_RANK="0")
    check_can_start(2)  # started by a launcher already


@pytest.mark.parametrize(("batch_size", "devices"), [(7, 2), (4, 3), (2, 2)])
def test_a_batch_that_processes_cannot_share_is_refused(launcher, batch_size, devices):
    launcher()
    with pytest.raises(
        TrainingError, match=f"a batch of {batch_size} cannot be shared by {devices} processes"
    ):
        check_share(batch_size, TrainConfig(devices=devices))
    check_share(2 * devices, TrainConfig(devices=devices))


def test_the_number_of_processes_is_no_part_of_a_run(launcher):
    config = TrainConfig(epochs=3)
    assert replace(config, devices=4, sync_batchnorm=True).identity == config.identity
    assert replace(config, lr=0.2).identity != config.identity


def test_one_process_exchanges_nothing():
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = gradient = torch.ones(2)
    alone = Processes()
    alone.average_gradients([parameter])
    alone.average_buffers(nn.BatchNorm2d(2))
    alone.wait()
    assert parameter.grad is gradient
    assert alone.total(gradient) is gradient


def test_generators_go_back_to_where_they_were():
    states = generator_states(torch.device("cpu"))
    drawn = torch.rand(3)
    set_generator_states(states, torch.device("cpu"))
    assert torch.equal(torch.rand(3), drawn)
    assert list(states) == ["torch"]


def test_converted_batchnorms_keep_names_tensors_and_outputs_and_come_back():
    net = create_net("resnet_tiny", 3, in_channels=1)
    twin = create_net("resnet_tiny", 3, in_channels=1)
    twin.load_state_dict(net.state_dict())
    names, parameters = list(net.state_dict()), list(net.parameters())
    to_synchronised(net)
    kinds = {type(m) for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert kinds == {nn.SyncBatchNorm}
    assert list(net.state_dict()) == names
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    to_plain(net)
    assert str(net) == str(twin)
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    x = torch.randn(4, 1, 8, 8)
    for (ours,), (theirs,) in zip(net(x), twin(x), strict=True):
        assert torch.equal(ours, theirs)
    for (name, ours), theirs in zip(net.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize("name", ["iresnext_tiny", "isresnext_tiny"])
def test_batchnorms_that_cannot_be_converted_are_named_and_the_net_is_left_alone(name):
    net = create_net(name, 3, in_channels=1)
    before = str(net)
    with pytest.raises(SharedTrainingError, match=r"norm\d is a PrefixBatchNorm2d, which cannot be synchron"):
        to_synchronised(net)
    assert str(net) == before


def test_a_device_that_asks_for_synchronised_batchnorm_alone_is_refused(launcher):
    launcher()
    with pytest.raises(TrainingError, match="needs several CUDA devices and this run has 1 process on cpu"):
        fabric_options(TrainConfig(device="cpu", sync_batchnorm=True))


def test_a_norm_with_two_names_is_converted_under_both_and_stays_one():
    norm = nn.BatchNorm2d(4)
    inner = nn.Sequential(norm)
    net = nn.Sequential(norm, nn.ReLU(), norm, inner)
    to_synchronised(net)
    assert type(net[0]) is nn.SyncBatchNorm
    assert net[0] is net[2] is inner[0]
    to_plain(net)
    assert type(net[0]) is nn.BatchNorm2d
    assert net[0] is net[2] is inner[0]
