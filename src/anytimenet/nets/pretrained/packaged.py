"""Weights that a package index carries: one file of PyTorch in a package, read once and never again.

The file is a pickle. It is opened only if its hash is the one that is written in this code, and then with
PyTorch's reader of plain tensors. What comes out is kept in the cache folder as safetensors.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from anytimenet.core.errors import MissingExtraError, PretrainedError, how_to_install
from anytimenet.core.files.cache_folder import cache_folder
from anytimenet.core.files.regular import read_regular
from anytimenet.core.files.writing import sha256, write_bytes

_MOST_BYTES = 2**31
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackagedWeights:
    """Weights in one file of a package.

    Attributes:
        package: name of the distribution that brings the file.
        suffix: of the file's name; the package has one such file.
        file_sha256: of the file.
        tensors_sha256: of its tensors, as `digest_of` has it.
        extra: of this project, that installs the package.
    """

    package: str
    suffix: str
    file_sha256: str
    tensors_sha256: str
    extra: str = "pretrained"

    def read(self) -> dict[str, Tensor]:
        """The tensors by name: from the cache, else from the package and then into the cache.

        Raises:
            MissingExtraError: if they are not in the cache and the package is not installed.
            PretrainedError: if the package's file is another one than this code knows.
        """
        kept = cache_folder() / "pretrained" / f"{self.package}-{self.tensors_sha256[:16]}.safetensors"
        tensors = self._kept(kept)
        if tensors is None:
            tensors = self._packaged()
            try:
                write_bytes(kept, to_safetensors(tensors, metadata={"format": "pt"}))
            except OSError as error:
                _log.warning("%s cannot be written (%s); the package is read again next time", kept, error)
        return tensors

    def _kept(self, path: Path) -> dict[str, Tensor] | None:
        """What an earlier call kept; None if there is nothing, or it is damaged, which is warned of."""
        try:
            tensors = parse_safetensors(read_regular(path, _MOST_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            _log.warning("%s cannot be used (%s) and is made again", path, error)
            return None
        if digest_of(tensors) != self.tensors_sha256:
            _log.warning("%s is damaged and is made again", path)
            return None
        return tensors

    def _packaged(self) -> dict[str, Tensor]:
        path = self._find()
        try:
            content = read_regular(path, _MOST_BYTES)
        except OSError as error:
            raise PretrainedError(
                f"the weights of {self.package} cannot be read ({error}): install it again"
            ) from error
        if sha256(content) != self.file_sha256:  # the same bytes are read below: nothing comes in between
            raise PretrainedError(
                f"{path} is not the file whose SHA-256 begins with {self.file_sha256[:16]}, and it is not "
                f"opened: install {self.package} again from its index"
            )
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        tensors = {name: tensor.contiguous() for name, tensor in found.items()}
        if digest_of(tensors) != self.tensors_sha256:
            raise PretrainedError(
                f"{path} was not read as it was written: report this, with your torch version"
            )
        return tensors

    def _find(self) -> Path:
        """The file in the installed package, which is not imported."""
        try:
            files = distribution(self.package).files or []
        except PackageNotFoundError:
            raise MissingExtraError(
                f"the package {self.package} has these weights and is not installed: "
                f"{how_to_install(self.extra)}"
            ) from None
        for file in files:
            if file.suffix == self.suffix:
                return Path(str(file.locate()))
        raise PretrainedError(
            f"{self.package} is installed without its *{self.suffix} file: install it again"
        )


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors, of names, dtypes, shapes and bytes, whatever file they come from.

    >>> digest_of({"a": torch.zeros(2)}) == digest_of({"a": torch.zeros(1, 2)})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
