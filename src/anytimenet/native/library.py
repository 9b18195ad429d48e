"""The engine's shared library: where it lies, what it can be asked, and from which sources it is."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint8, c_void_p
from functools import cache
from importlib import resources
from pathlib import Path

from anytimenet.core.errors import BackendError
from anytimenet.core.files.writing import sha256

NAMES = ("libanytimenet.so", "libanytimenet.dylib")
MISSING = (
    "the native engine is not in this installation, which was made without a C++ compiler: install GCC 12 or "
    "Clang and reinstall anytimenet (ANYTIMENET_REQUIRE_NATIVE=1 says why it does not build), or choose "
    "another backend"
)
_SOURCES = {"": (".txt",), "src": (".cpp", ".h", ".inc"), "src/kernels": (".inc",), "include": (".h",)}


class Options(ctypes.Structure):
    """`anytime_options`."""

    _fields_ = [
        ("stop", c_int32),
        ("least", c_int32),
        ("deadline_ns", c_int64),
        ("answers", POINTER(c_int32)),
    ]


class Result(ctypes.Structure):
    """`anytime_result`."""

    _fields_ = [("stage", c_int32), ("answered", c_int32), ("stopped", c_int32)]


class PreprocessingFields(ctypes.Structure):
    """`anytime_preprocessing`."""

    _fields_ = [
        *((name, c_int32) for name in ("height", "width", "channels", "filter", "shorter_side", "reserved")),
        ("mean", c_double * 3),
        ("std", c_double * 3),
    ]


_FLOATS = POINTER(c_float)
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "anytime_digest": (c_char_p, ()),
    "anytime_instruction_sets": (c_char_p, ()),
    "anytime_now": (c_int64, ()),
    "anytime_multiply": (c_double, (c_char_p, c_int64)),
    "anytime_load": (
        c_void_p,
        (
            *(c_char_p, c_size_t, POINTER(c_char_p), POINTER(c_size_t), c_size_t),
            *(c_char_p, c_char_p, c_size_t),
        ),
    ),
    "anytime_extend": (
        c_void_p,
        (c_void_p, POINTER(c_char_p), POINTER(c_size_t), c_size_t, c_char_p, c_size_t),
    ),
    "anytime_unload": (None, (c_void_p,)),
    "anytime_stages": (c_int32, (c_void_p,)),
    "anytime_weight_bytes": (c_int64, (c_void_p,)),
    "anytime_instruction_set": (c_char_p, (c_void_p,)),
    "anytime_input_shape": (None, (c_void_p, POINTER(c_int32))),
    "anytime_open": (c_void_p, (c_void_p, c_int32)),
    "anytime_follow": (c_int32, (c_void_p, c_void_p)),
    "anytime_close": (None, (c_void_p,)),
    "anytime_session_bytes": (c_int64, (c_void_p,)),
    "anytime_begin": (c_int32, (c_void_p, _FLOATS)),
    "anytime_run": (c_int32, (c_void_p, POINTER(Options), POINTER(Result))),
    "anytime_cancel": (None, (c_void_p,)),
    "anytime_cancel_after": (None, (c_void_p, c_int64)),
    "anytime_stage": (c_int32, (c_void_p,)),
    "anytime_output": (c_int64, (c_void_p, c_int32, _FLOATS)),
    "anytime_state_tensors": (c_int32, (c_void_p, c_int32)),
    "anytime_read_state": (c_int64, (c_void_p, c_int32, _FLOATS)),
    "anytime_restore": (c_int32, (c_void_p, c_int32, POINTER(_FLOATS))),
    "anytime_prepare": (
        c_int32,
        (POINTER(c_uint8), c_int32, c_int32, c_int32, POINTER(PreprocessingFields), _FLOATS),
    ),
    "anytime_sha256": (None, (c_char_p, c_size_t, c_char_p)),
}


@cache
def library() -> ctypes.CDLL:
    """The library, its functions with their types.

    Raises:
        BackendError: if there is none, or it cannot be loaded here.
    """
    for name in NAMES:
        place = resources.files("anytimenet.native") / "lib" / name
        if place.is_file():
            with resources.as_file(place) as file:
                try:
                    found = ctypes.CDLL(str(file))
                    for function, (result, arguments) in _SIGNATURES.items():
                        getattr(found, function).restype = result
                        getattr(found, function).argtypes = arguments
                except (OSError, AttributeError) as error:
                    raise BackendError(
                        f"the native engine cannot be loaded ({error}): reinstall anytimenet"
                    ) from error
                return found
    raise BackendError(MISSING)


def is_there() -> bool:
    """Whether the engine can be used here."""
    try:
        library()
    except BackendError:
        return False
    return True


def built_from() -> str:
    """The digest of the sources that the library was built from.

    Raises:
        BackendError: if there is no library.
    """
    return str(library().anytime_digest().decode())


def sources_digest() -> str:
    """The digest of the sources in this installation, as CMake computes it when it builds the library."""
    lines = []
    for folder, endings in _SOURCES.items():
        place = resources.files("anytimenet.native")
        for file in (place / folder if folder else place).iterdir():
            if file.name.endswith(endings):
                name = f"{folder}/{file.name}" if folder else file.name
                lines.append(f"{name} {sha256(file.read_bytes())}\n")
    return sha256("".join(sorted(lines)).encode())


def web_folder() -> Path:
    """The folder of `engine.wasm` and the JavaScript modules beside it, to copy to a page's.

    >>> sorted(file.name for file in web_folder().glob("*.wasm"))
    ['engine.wasm']
    """
    return Path(__file__).parent / "web"


def instruction_sets() -> tuple[str, ...]:
    """Those that this machine and the library have, best first: "avx512", "avx2", "sse"; "neon".

    Raises:
        BackendError: if there is no library.
    """
    return tuple(library().anytime_instruction_sets().decode().split(","))
