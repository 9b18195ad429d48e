"""How a run starts: its device, and its processes where there are several."""

from __future__ import annotations

import atexit
import inspect
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from anytimenet.core.errors import TrainingError, require
from anytimenet.core.launcher import launched_count
from anytimenet.training.config import TrainConfig
from anytimenet.training.sync_batchnorm import check_synchronised


def launch(config: TrainConfig) -> Any:
    """A Fabric with all processes of the run started: its `device`, `global_rank` and `world_size` are known.

    A launcher such as torchrun has started them already. Otherwise the command of this process is run again
    `devices - 1` times, from its beginning, and this call returns in each process once all have come here.

    Raises:
        TrainingError: if there is no such device, or the processes cannot be started.
    """
    options = fabric_options(config)
    check_can_start(config.devices)
    fabric_module = require("lightning_fabric", "train")
    with quiet_fabric():
        if options["devices"] * options["num_nodes"] > 1:
            strategies = require("lightning_fabric.strategies", "train")
            # The first process may evaluate a finished run for long while the others wait.
            options["strategy"] = strategies.DDPStrategy(timeout=timedelta(hours=2), **wrapper_options())
        fabric = fabric_module.Fabric(**options)
        if os.environ.get("LT_CLI_USED") != "1":  # `fabric run` has launched already and forbids it
            fabric.launch()
    if fabric.world_size > 1:
        leave_group_at_exit()
    return fabric


def fabric_options(config: TrainConfig) -> dict[str, Any]:
    """Fabric's arguments for a run: accelerator, precision, devices on each machine, machines.

    Raises:
        TrainingError: if there is no such device, or `devices` processes cannot be started.
    """
    check_device(config.device)
    accelerator = config.device
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    count = process_count(config.devices)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count)) if launched_count() > 1 else count
    if accelerator == "cuda" and here > torch.cuda.device_count():
        raise TrainingError(
            f"{here} CUDA devices are needed and this machine shows {torch.cuda.device_count()}: "
            f"take devices={max(1, torch.cuda.device_count())}, or device='cpu'"
        )
    if config.sync_batchnorm:
        check_synchronised(accelerator, count)
    return {
        "accelerator": accelerator,
        "devices": here,
        "num_nodes": count // here,
        "precision": {"32": "32-true", "bf16": "bf16-mixed"}[config.precision],
    }


def wrapper_options() -> dict[str, Any]:
    """Arguments of DistributedDataParallel: every process keeps its own running statistics in between."""
    known = inspect.signature(DistributedDataParallel).parameters
    # Renamed in torch 2.13, where the old name warns.
    return {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}


def leave_group_at_exit() -> None:
    """Lets this process leave its group before Python shuts down.

    A group that is still open then has threads that may ask for an interpreter which is gone, and abort the
    process ("terminate called without an active exception") after all its work is done.
    """
    atexit.register(_leave_group)


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def check_device(name: str) -> None:
    """Raises TrainingError if `name` asks for CUDA and this machine shows none."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError(f"device {name!r} was asked for and this machine shows none; use device='cpu'")


def check_share(batch_size: int, config: TrainConfig) -> None:
    """Raises TrainingError unless the processes of a run get equal shares of a batch, two images or more."""
    count = process_count(config.devices)
    if count > 1 and not config.drop_last:
        raise TrainingError(
            f"the last batch of an epoch cannot be shared evenly by {count} processes: leave it out "
            "(drop_last=True), or train in one process"
        )
    if count > 1 and (batch_size % count or batch_size < 2 * count):
        fitting = max(2, round(batch_size / count)) * count
        raise TrainingError(
            f"a batch of {batch_size} cannot be shared by {count} processes, at least two images each and "
            f"equally many (BatchNorm needs two): take batch_size={fitting} or devices=1"
        )


@contextmanager
def quiet_fabric() -> Iterator[None]:
    """Keeps Fabric's banners off standard error; its warnings and errors pass."""
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def process_count(devices: int) -> int:
    """How many processes train together: what a launcher started, else `devices`.

    Raises:
        TrainingError: if a launcher started another number.
    """
    launched = launched_count()
    distributed = torch.distributed
    group = distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
    by_launcher = launched > 1 or group > 1 or "TORCHELASTIC_RUN_ID" in os.environ
    if group not in (1, launched) or (by_launcher and devices not in (1, launched)):
        raise TrainingError(
            f"the launcher started {launched} process{'es' * (launched > 1)} and {max(group, devices)} are "
            "asked for: leave devices=N out, it is the launcher who decides"
        )
    return launched if by_launcher else devices


def check_launch(config: TrainConfig) -> None:
    """Raises TrainingError if the processes of a run cannot be started here."""
    fabric_options(config)
    check_can_start(config.devices)


def check_can_start(devices: int) -> None:
    """Raises TrainingError if this program would have to start the other processes and is no script."""
    starts = devices > 1 and launched_count() == 1 and "TORCHELASTIC_RUN_ID" not in os.environ
    if starts and (hasattr(sys, "ps1") or not getattr(sys.modules["__main__"], "__file__", None)):
        raise TrainingError(
            "several processes start by running this program again, and it is no script: save it to a file, "
            "use the command line, or train with devices=1"
        )
