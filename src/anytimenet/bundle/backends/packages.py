"""Compiled segments on disk: one package each, under a name that follows from all that it was made of."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import anytimenet
from anytimenet.core.errors import BackendError
from anytimenet.core.files.cache_folder import cache_folder
from anytimenet.core.files.temporaries import sweep, temporary_for
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.layers.snapshots import tensors_of

FORM = 1
"""Changes when packages are made in another way."""
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
COMPILERS = ("g++", "clang++", "c++")


class Packages:
    """A folder of compiled segments below the cache folder; it holds native code, as the user's own programs.

    Args:
        folder: None for `compiled` in `$ANYTIMENET_CACHE` or in the user's cache.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = cache_folder(folder) / "compiled"

    def path(self, key: str) -> Path:
        """Where the package of that key lies, if it was made."""
        return self.folder / f"{key}.pt2"

    def load(self, key: str) -> Any:
        """The compiled segment, or None if it is not there, or not to be trusted or used.

        Code of a file that another user owns, or can write to, is never run.
        """
        path = self.path(key)
        try:
            found = path.stat()
        except OSError:
            return None
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & _OTHERS):
            raise BackendError(
                f"{path} belongs to another user, or others can write to it, and it holds code: "
                "remove it, or set ANYTIMENET_CACHE to a folder of your own"
            )
        try:
            with _quiet():
                return torch._inductor.aoti_load_package(str(path))
        except (RuntimeError, OSError, ValueError, zipfile.BadZipFile):
            return None  # cut short or of another system: it is made again

    def compile(
        self,
        key: str,
        module: nn.Module,
        example: Sequence[Tensor],
        options: dict[str, Any],
        *,
        any_batch: bool,
    ) -> Any:
        """Compiles `module(*example)`, for the example's batch size or for any, keeps it, and loads it.

        Raises:
            BackendError: without a C++ compiler, or if PyTorch cannot compile it.
        """
        check_compiler()
        shapes = ({0: torch.export.Dim("batch")},) * len(example) if any_batch else None
        path = self.path(key)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep(self.folder)
        temporary = temporary_for(path)
        temporary.mkdir(mode=0o700)
        made = temporary / "package.pt2"  # PyTorch insists on the end of the name
        try:
            with _quiet():
                program = torch.export.export(
                    module, tuple(example), dynamic_shapes=None if shapes is None else (shapes,)
                )
                torch._inductor.aoti_compile_and_package(
                    program, package_path=str(made), inductor_configs=options
                )
            os.chmod(made, 0o600)
            os.replace(made, path)
        except Exception as error:  # the compiler is a large program of many errors
            reason = str(error).strip().partition("\n")[0][:300]
            raise BackendError(
                f"PyTorch cannot compile this segment ({type(error).__name__}: {reason}): "
                "use the backend 'eager'"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return self.load(key)

    def nbytes(self, key: str) -> int:
        """Bytes of a package in memory: its library, which holds the weights."""
        with zipfile.ZipFile(self.path(key)) as package:
            return sum(entry.file_size for entry in package.infolist() if entry.filename.endswith(".so"))


def key_of(module: nn.Module, *facts: object) -> str:
    """A name for a module, its weights and `facts`, of this library, this PyTorch and these instructions."""
    stamp = machine_stamp()
    digest = hashlib.sha256(
        repr(
            (
                *(FORM, anytimenet.__version__, torch.__version__, stamp["architecture"]),
                *(stamp["instructions"], torch.backends.cpu.get_cpu_capability(), repr(module), facts),
            )
        ).encode()
    )
    for tensor in tensors_of(module):
        digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:40]


def check_compiler() -> None:
    """Raises BackendError if there is no C++ compiler."""
    own = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([own] if own else COMPILERS)):
        looked = f"CXX is {own!r}, which is not found" if own else f"none of {', '.join(COMPILERS)} is found"
        raise BackendError(
            f"the backend 'compiled' needs a C++ compiler, and {looked}: install one (apt-get install g++, "
            "or the command line tools of Xcode), or use the backend 'eager'"
        )


class _quiet(warnings.catch_warnings):  # noqa: N801
    """Without the warnings that PyTorch gives about its own parts."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered
