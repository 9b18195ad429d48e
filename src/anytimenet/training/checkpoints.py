"""Checkpoints: everything a run needs to go on bit for bit, in one safetensors file with a JSON header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from anytimenet.core.errors import TrainingError
from anytimenet.core.files import write_bytes
from anytimenet.nets.registry import check_saved_form
from anytimenet.training.processes import generator_states, set_generator_states

_FORMAT = "anytimenet-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint:
    """A position in a run.

    Attributes:
        epoch: the epoch that the run goes on in, counted from 0.
        batch: the batch of that epoch that comes next, counted from 0.
        run: what identifies the run (configuration, net, data); a resumed run must have the same.
        progress: scores so far; JSON values.
        tensors: net, optimiser, scheme and random generators, by prefixed name.
    """

    epoch: int
    batch: int
    run: Mapping[str, Any]
    progress: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def save(self, path: Path) -> None:
        """Writes one file atomically.

        Raises:
            TrainingError: if it cannot be written; a file that stood there before is left intact.
        """
        header = {
            "epoch": self.epoch,
            "batch": self.batch,
            "run": dict(self.run),
            "progress": dict(self.progress),
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        data = save(tensors, metadata={"format": _FORMAT, "header": json.dumps(header)})
        try:
            write_bytes(path, data)
        except OSError as error:
            raise TrainingError(
                f"the checkpoint {path} cannot be written ({error.strerror}): free some space or choose "
                "another --out, then go on with --resume; earlier files are intact"
            ) from error

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Reads one file.

        Raises:
            TrainingError: if it is missing, damaged or no checkpoint of this project.
        """
        try:
            with safetensors.safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError as error:
            raise TrainingError(f"there is no checkpoint {path}; start without --resume") from error
        except (OSError, safetensors.SafetensorError) as error:
            raise TrainingError(
                f"the checkpoint {path} is damaged ({error}); start without --resume"
            ) from error
        if metadata.get("format") != _FORMAT:
            raise TrainingError(f"{path} is not a checkpoint of this project; choose another folder")
        header = json.loads(metadata["header"])
        return cls(header["epoch"], header["batch"], header["run"], header["progress"], tensors)

    def check_run(self, run: Mapping[str, Any]) -> None:
        """Raises TrainingError, naming what differs, unless this is a checkpoint of `run`."""
        wanted = json.loads(json.dumps(dict(run)))
        self._check_forms(wanted)
        names = sorted(name for name in {*wanted, *self.run} if wanted.get(name) != self.run.get(name))
        if names:
            changes = "; ".join(_change(name, self.run.get(name), wanted.get(name)) for name in names)
            raise TrainingError(
                f"the checkpoint belongs to another run ({changes}): give the same settings, or start "
                "without --resume in another folder"
            )

    def _check_forms(self, wanted: Mapping[str, Any]) -> None:
        """Raises TrainingError if the same net, or a member of it, is built in another form today."""
        if self.run.get("net") != wanted.get("net"):
            return
        before, now = self.run.get("net_forms") or {}, wanted.get("net_forms") or {}
        for name in sorted({*before, *now}):
            try:
                check_saved_form(name, before.get(name, 1))
            except ValueError as error:
                raise TrainingError(f"the checkpoint cannot be resumed: {error}") from error


def _change(name: str, before: Any, now: Any) -> str:
    """One thing that differs between two runs, no longer than it need be."""
    if name == "data":
        return "the images or their split changed"
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        return "; ".join(_change(f"{name} {key}", before.get(key), now.get(key)) for key in keys)
    return f"{name} was {before!r}, is {now!r}"


def gather(net: nn.Module, optimiser: torch.optim.Optimizer, scheme: nn.Module) -> dict[str, Tensor]:
    """All tensors that a run carries from step to step, by prefixed name."""
    tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    for name, parameter in net.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{name}.{key}"] = value
    tensors |= {f"scheme.{name}": tensor for name, tensor in scheme.state_dict().items()}
    tensors |= {f"rng.{name}": state for name, state in generator_states(_device(net)).items()}
    return tensors


def restore(
    checkpoint: Checkpoint, net: nn.Module, optimiser: torch.optim.Optimizer, scheme: nn.Module
) -> None:
    """Puts back what `gather` collected."""
    tensors = checkpoint.tensors
    net.load_state_dict(_under(tensors, "net."))
    for name, parameter in net.named_parameters():
        state = _under(tensors, f"optimiser.{name}.")
        if state:
            optimiser.state[parameter] = {
                # Empty_like keeps the parameter's memory layout, on which the kernels' rounding may depend.
                key: torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
                for key, value in state.items()
            }
    scheme.load_state_dict(_under(tensors, "scheme."))
    set_generator_states(_under(tensors, "rng."), _device(net))


def _device(net: nn.Module) -> torch.device:
    return next(net.parameters()).device


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
