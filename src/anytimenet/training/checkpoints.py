"""Checkpoints: everything a run needs to go on bit for bit, in one safetensors file with a JSON header."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from anytimenet.core.errors import TrainingError
from anytimenet.core.files.writing import write_bytes
from anytimenet.nets.finite import not_finite
from anytimenet.nets.registry import check_saved_form
from anytimenet.training.checkpoint_header import FORMAT, UNHASHED_FORMAT, digest_of, read_header
from anytimenet.training.processes import generator_states, set_generator_states

_NEED_NOT_MATCH = {"rng.cuda"}  # a run may go on on another device
_MEANT = {"statistics": "running"}  # by the runs from before there was a choice
_TOLD = {"images"}  # for whoever starts from the weights; what of it matters here is part of the data


@dataclass(frozen=True)
class Checkpoint:
    """A position in a run.

    Attributes:
        epoch: the epoch that the run goes on in, counted from 0.
        batch: the batch of that epoch that comes next, counted from 0.
        run: what identifies the run (configuration, net, data); a resumed run must have the same.
        progress: scores so far; JSON values.
        tensors: net, optimiser, scheme and random generators, by prefixed name.
        hashed: whether the file had a digest; those of the first format had none.
    """

    epoch: int
    batch: int
    run: Mapping[str, Any]
    progress: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    hashed: bool = True

    def save(self, path: Path) -> None:
        """Writes one file atomically, with a digest over all of it.

        Raises:
            TrainingError: if it cannot be written; a file that stood there before is left intact.
        """
        header = json.dumps(
            {
                "epoch": self.epoch,
                "batch": self.batch,
                "run": dict(self.run),
                "progress": dict(self.progress),
            }
        )
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        metadata = {"format": FORMAT, "header": header, "digest": digest_of(header, tensors)}
        data = save(tensors, metadata=metadata)
        try:
            write_bytes(path, data)
        except OSError as error:
            raise TrainingError(
                f"the checkpoint {path} cannot be written ({error.strerror}): free some space and go on with "
                "resume=True, or choose another out=FOLDER; earlier files are intact"
            ) from error

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Reads one file and compares it with its digest.

        Raises:
            TrainingError: if it is missing, damaged or no checkpoint of this project.
        """
        metadata, tensors = _read(path)
        kind = metadata.get("format")
        hashed = kind == FORMAT
        if not hashed and (kind != UNHASHED_FORMAT or "digest" in metadata):
            if kind is not None and kind.startswith("anytimenet-checkpoint-") and "digest" not in metadata:
                raise TrainingError(f"{path} is a checkpoint of a newer version: update anytimenet")
            raise TrainingError(f"{path} is not a checkpoint of this project, or a damaged one")
        text = metadata.get("header", "")
        if hashed and metadata.get("digest") != digest_of(text, tensors):
            raise TrainingError(f"the checkpoint {path} is damaged: its content is not what was written")
        try:
            header = read_header(text)
        except ValueError as error:
            raise TrainingError(f"the checkpoint {path} is damaged: {error}") from error
        return cls(
            header["epoch"], header["batch"], header["run"], header["progress"], tensors, hashed=hashed
        )

    @property
    def weights(self) -> dict[str, Tensor]:
        """The state of the net."""
        return _under(self.tensors, "net.")

    def check_run(self, run: Mapping[str, Any]) -> None:
        """Raises TrainingError, naming what differs, unless this is a checkpoint of `run`."""
        wanted, saved = json.loads(json.dumps({**_MEANT, **run})), {**_MEANT, **self.run}
        self.check_forms(wanted)
        compared = {*wanted, *saved} - _TOLD
        names = sorted(name for name in compared if wanted.get(name) != saved.get(name))
        if names:
            changes = "; ".join(_change(name, saved.get(name), wanted.get(name)) for name in names)
            raise TrainingError(
                f"the checkpoint belongs to another run ({changes}): give the same settings, or start "
                "another run, which may begin with these weights (init=CHECKPOINT), in another out"
            )

    def check_forms(self, wanted: Mapping[str, Any]) -> None:
        """Raises TrainingError if the same net, or a member of it, is built in another form today."""
        if self.run.get("net") != wanted.get("net"):
            return
        saved = self.run.get("net_forms")
        before, now = saved if isinstance(saved, dict) else {}, wanted.get("net_forms") or {}
        for name in sorted({*before, *now}):
            try:
                check_saved_form(name, before.get(name, 1))
            except ValueError as error:
                raise TrainingError(f"the checkpoint cannot be used: {error}") from error


def told_run(path: Path) -> dict[str, Any]:
    """What identifies the run of a checkpoint, without reading its tensors; nothing if there is none."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            run: dict[str, Any] = read_header((file.metadata() or {}).get("header", ""))["run"]
            return run
    except Exception:  # whoever resumes from it is told what is wrong
        return {}


def check_tensors(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], unless: Iterable[str] = ()
) -> None:
    """Raises TrainingError for the first tensor that is missing, too many, or of another shape or kind."""
    for name in sorted({*tensors, *expected} - set(unless)):
        if name not in tensors or name not in expected:
            raise TrainingError(f"{name} is {'missing' if name in expected else 'unknown'} in it")
        one, other = tensors[name], expected[name]
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            raise TrainingError(
                f"{name} in it is {one.dtype} {tuple(one.shape)}, not {other.dtype} {tuple(other.shape)}"
            )


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file."""
    if not path.exists():
        raise TrainingError(f"there is no checkpoint {path}")
    if not path.is_file():
        raise TrainingError(f"{path} is no file, so no checkpoint")
    try:
        with safetensors.safe_open(path, "pt") as file:
            names = list(file.keys())
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except Exception as error:  # of a damaged file anything may come: also what torch says of odd types
        raise TrainingError(f"the checkpoint {path} is damaged ({error})") from error


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
    """Puts back what `gather` collected.

    Raises:
        TrainingError: if it is not all there, not of this net, or not finite; nothing is changed then.
    """
    tensors = checkpoint.tensors
    if "rng.torch" not in tensors:
        raise TrainingError(
            "it holds weights alone, as best.safetensors does, and no run can go on from there"
        )
    expected = gather(net, optimiser, scheme)
    for name, parameter in net.named_parameters():
        buffer = f"optimiser.{name}.momentum_buffer"
        if buffer in tensors:  # an optimiser may make it in its first step only
            expected.setdefault(buffer, parameter)
    check_tensors(tensors, expected, _NEED_NOT_MATCH)
    learnt = {f"net.{name}" for name, _ in net.named_parameters()}
    broken = not_finite({n: t for n, t in tensors.items() if n in learnt or n.startswith("optimiser.")})
    if broken is not None:
        raise TrainingError(f"{broken} in it is not finite: the run was broken when it was written")
    net.load_state_dict(checkpoint.weights)
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
