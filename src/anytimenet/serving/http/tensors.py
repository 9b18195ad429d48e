"""Tensors of the Open Inference Protocol: in JSON, or in bytes behind it (the binary data extension)."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from anytimenet.core.checks import shown
from anytimenet.serving.http.pictures import from_base64, json_object
from anytimenet.serving.http.problems import bad_request

_NUMPY = {"FP32": np.dtype("<f4"), "INT32": np.dtype("<i4"), "BOOL": np.dtype("?")}


@dataclass(frozen=True)
class Inference:
    """A request of the protocol.

    Attributes:
        id: that the client gave it.
        parameters: of the request.
        inputs: by name: images in bytes, or an array.
        outputs: the names that are wanted, and whether in bytes; empty for all.
        binary: whether outputs are bytes where their own parameters do not say.
    """

    id: str
    parameters: dict[str, Any]
    inputs: dict[str, list[bytes] | np.ndarray]
    outputs: dict[str, bool]
    binary: bool


def read_inference(body: bytes, header_length: str | None, most_bytes: int) -> Inference:
    """The request in a body.

    Args:
        body: JSON, and the bytes of its tensors behind it.
        header_length: where the JSON ends, from `Inference-Header-Content-Length`; None where it is all.
        most_bytes: that a tensor in JSON may become.

    Raises:
        Problem: 400 for anything that is no such request.
    """
    end = len(body)
    if header_length is not None:
        digits = header_length.isascii() and header_length.isdigit() and len(header_length) < 20
        if not digits or int(header_length) > len(body):
            raise bad_request("inference-header-content-length must be the length of the JSON in the body")
        end = int(header_length)
    value, rest = json_object(body[:end]), memoryview(body)[end:]
    inputs: dict[str, list[bytes] | np.ndarray] = {}
    for tensor in _listed(value, "inputs"):
        if _name(tensor) in inputs:
            raise bad_request("two tensors of inputs have one name")
        size = _parameters(tensor).get("binary_data_size")
        if size is None:
            inputs[_name(tensor)] = _from_json(tensor, most_bytes)
        elif type(size) is not int or not 0 <= size <= len(rest):
            raise bad_request("binary_data_size must be the bytes of a tensor behind the JSON")
        else:
            inputs[_name(tensor)], rest = _from_bytes(tensor, bytes(rest[:size])), rest[size:]
    if len(rest):
        raise bad_request("the body has bytes of no tensor: each names its binary_data_size")
    parameters = _parameters(value)
    binary = parameters.pop("binary_data_output", False) is True
    outputs = {
        _name(tensor): _parameters(tensor).get("binary_data", binary) is True
        for tensor in _listed(value, "outputs", needed=False)
    }
    identity = value.get("id", "")
    if not isinstance(identity, str) or len(identity) > 200:
        raise bad_request("id must be words")
    return Inference(identity, parameters, inputs, outputs, binary)


def write_inference(
    model: str, asked: Inference, tensors: dict[str, np.ndarray | list[str]]
) -> tuple[bytes, int | None]:
    """The body of an answer, and where its JSON ends if bytes follow."""
    told, behind = [], []
    for name, tensor in tensors.items():
        if asked.outputs and name not in asked.outputs:
            continue
        datatype, shape = _datatype(tensor), [len(tensor), *np.shape(tensor)[1:]]
        record: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if asked.outputs.get(name, asked.binary):
            data = _as_bytes(tensor)
            record["parameters"] = {"binary_data_size": len(data)}
            behind.append(data)
        else:
            record["data"] = tensor if isinstance(tensor, list) else tensor.ravel().tolist()
        told.append(record)
    answer: dict[str, Any] = {"model_name": model, "model_version": "1", "outputs": told}
    if asked.id:
        answer["id"] = asked.id
    head = json.dumps(answer).encode()
    return b"".join([head, *behind]), len(head) if behind else None


def _datatype(tensor: np.ndarray | list[str]) -> str:
    if isinstance(tensor, list):
        return "BYTES"
    return next(name for name, kind in _NUMPY.items() if kind == tensor.dtype)


def _as_bytes(tensor: np.ndarray | list[str]) -> bytes:
    if isinstance(tensor, list):
        words = [word.encode() for word in tensor]
        return b"".join(struct.pack("<I", len(word)) + word for word in words)
    return np.ascontiguousarray(tensor).tobytes()


def _from_json(tensor: dict[str, Any], most_bytes: int) -> list[bytes] | np.ndarray:
    datatype, shape = _kind(tensor)
    data = tensor.get("data")
    if not isinstance(data, list):
        raise bad_request("a tensor has data, a list, or binary_data_size and bytes behind the JSON")
    if datatype == "BYTES":
        if len(data) != math.prod(shape):
            raise bad_request("data must hold as many images as the shape says")
        return [from_base64(one) for one in data]
    if 4 * math.prod(shape) > most_bytes:
        raise bad_request("a tensor of that shape is larger than a body may be")
    try:
        return np.asarray(data, np.float32).reshape(shape)
    except (ValueError, TypeError, OverflowError):
        raise bad_request("data must hold as many numbers as the shape says") from None


def _from_bytes(tensor: dict[str, Any], data: bytes) -> list[bytes] | np.ndarray:
    datatype, shape = _kind(tensor)
    if datatype == "FP32":
        if len(data) != 4 * math.prod(shape):
            raise bad_request("binary_data_size must be 4 bytes for each number of the shape")
        return np.frombuffer(data, "<f4").reshape(shape)
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        if at + 4 + size > len(data):
            raise bad_request("a BYTES tensor is elements of 4 bytes with their length and their content")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    if len(found) != math.prod(shape):
        raise bad_request("a BYTES tensor must hold as many elements as its shape says")
    return found


def _kind(tensor: dict[str, Any]) -> tuple[str, list[int]]:
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    if datatype not in ("BYTES", "FP32"):
        raise bad_request(f"datatype must be BYTES or FP32, not {shown(datatype)}")
    whole = isinstance(shape, list) and all(type(size) is int and 0 <= size < 2**31 for size in shape)
    if not isinstance(shape, list) or not whole or not 1 <= len(shape) <= 4:
        raise bad_request("shape must be a list of one to four sizes")
    return datatype, shape


def _listed(value: dict[str, Any], name: str, *, needed: bool = True) -> list[dict[str, Any]]:
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found) or len(found) > 16:
        raise bad_request(f"{name} must be a list of tensors")
    if needed and not found:
        raise bad_request(f"{name} must hold a tensor")
    return found


def _name(tensor: dict[str, Any]) -> str:
    name = tensor.get("name")
    if not isinstance(name, str) or not name or len(name) > 200:
        raise bad_request("a tensor needs a name")
    return name


def _parameters(value: dict[str, Any]) -> dict[str, Any]:
    found = value.get("parameters", {})
    if not isinstance(found, dict):
        raise bad_request("parameters must be a JSON object")
    return dict(found)
