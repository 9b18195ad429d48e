"""The PyTorch backends, by the names under which bundles find them."""

from __future__ import annotations

from anytimenet.bundle.backends.compiled import CompiledBackend
from anytimenet.bundle.backends.eager import EagerBackend
from anytimenet.bundle.bundle import Bundle
from anytimenet.runtime.backends.backend import Placement
from anytimenet.runtime.backends.known import register_backend, register_elsewhere


def register() -> None:
    """Makes the PyTorch backends known for bundles, and by name those that run what `export` makes of one."""
    register_backend(Bundle, "eager", eager)
    register_backend(Bundle, "compiled", compiled)
    register_backend(Bundle, "compiled-single", compiled_single)
    for name in ("native", "onnxruntime", "openvino"):
        register_elsewhere(Bundle, name, "anytimenet.export.live")


def eager(bundle: Bundle, placement: Placement) -> EagerBackend:
    """The net of a bundle in eager PyTorch."""
    return EagerBackend(bundle.net, placement, input_shape=bundle.manifest.input_shape)


def compiled(bundle: Bundle, placement: Placement) -> CompiledBackend:
    """The net of a bundle in PyTorch, compiled ahead of time."""
    return CompiledBackend(bundle.net, placement, input_shape=bundle.manifest.input_shape)


def compiled_single(bundle: Bundle, placement: Placement) -> CompiledBackend:
    """The same for one image at a time."""
    return CompiledBackend(bundle.net, placement, input_shape=bundle.manifest.input_shape, single=True)
