"""The weights of a bundle: one safetensors file a stage, so that the first k files are a smaller net.

Shard k holds the parts whose earliest stage is k. A part that is a whole tensor is stored under the
tensor's name, a rectangle of one under its name and box, such as `stem.conv.weight[0:4,0:1,0:3,0:3]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.folder import AGAIN
from anytimenet.core.manifest.shard_names import is_shard as is_shard
from anytimenet.core.manifest.shard_names import shard_name as shard_name
from anytimenet.nets.contract import AnytimeNet, Part

Layout = dict[str, Part]
"""What one shard holds: parts by their names in it."""

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_CURE = "anytimenet.testing.check_anytime_net(net, input_shape) says what to mend"


def part_key(part: Part, shape: Sequence[int]) -> str:
    """The name of `part`, a rectangle of a tensor of `shape`, in its shard.

    >>> part_key(Part("fc.weight", ((0, 2), (0, 3)), (1, 2)), (4, 3))
    'fc.weight[0:2,0:3]'
    >>> part_key(Part("fc.bias", ((0, 4),), (1, 2)), (4,))
    'fc.bias'
    """
    if part.box == _whole(shape):
        return part.name
    return f"{part.name}[{','.join(f'{start}:{stop}' for start, stop in part.box)}]"


def layout_of(whole: AnytimeNet, first: AnytimeNet) -> list[Layout]:
    """What each shard of `whole` holds, once it is sure that the shards of `first` make it complete.

    Args:
        whole: the net that is saved or was saved; on any device.
        first: the net of its first stages, or `whole` itself.

    Raises:
        BundleError: if a tensor of `first` would be lost.
    """
    shards: list[Layout] = [{} for _ in range(whole.num_stages)]
    saved = whole.state_dict()
    for part in whole.parts():
        shards[min(part.stages) - 1][part_key(part, saved[part.name].shape)] = part
    needed = [part for shard in shards[: first.num_stages] for part in shard.values()]
    _check_coverage(first, needed)
    return shards


def largest_shard(parts: Layout) -> int:
    """Bytes that no shard of these parts exceeds: eight a number, and the names and places of the parts."""
    return 65_536 + sum(8 * part.numel + 1024 + 2 * len(key.encode()) for key, part in parts.items())


def pack_shards(net: AnytimeNet, layout: Sequence[Layout]) -> Iterator[bytes]:
    """The safetensors files of stages 1..K, one at a time."""
    tensors = net.state_dict()
    for parts in layout:
        pieces = {key: _own_copy(part.of(tensors[part.name])) for key, part in parts.items()}
        # One entry only: the library writes several in an order that changes from run to run.
        yield to_safetensors(pieces, metadata={"format": "pt"})


def fill(
    net: AnytimeNet,
    layout: Sequence[Layout],
    shards: Iterable[tuple[str, bytes]],
    device: torch.device | str,
    before: AnytimeNet | None = None,
) -> None:
    """Gives `net`, on the meta device, the weights in the shards of its stages.

    Args:
        net: the net of the first stages.
        layout: what the shards hold, from `layout_of(whole, net)`.
        shards: name and content of the shards of stages 1..K of `net`, in this order; of those alone that
            `before` lacks.
        device: where the weights go, with the dtypes that they were saved with.
        before: the net of fewer stages, filled; its weights are copied.

    Raises:
        BundleError: if a shard does not hold exactly the parts of its stage, in dtypes of their kind.
    """
    expected = net.state_dict()
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    tensors: dict[str, Tensor] = {}
    held = 0 if before is None else before.num_stages
    filled = {} if before is None else before.state_dict()
    for parts in layout[:held]:
        for part in parts.values():
            _place(part.of(filled[part.name]).clone(), part, shapes[part.name], tensors, device)
    for parts, (file, data) in zip(layout[held:], shards, strict=False):
        pieces = _parse(data, file, parts)
        _check_dtypes(pieces, parts, expected, file)
        for key, part in parts.items():
            _place(pieces[key], part, shapes[part.name], tensors, device)
    check_one_precision(tensors, expected)
    # Assigning, and not copying into float32 tensors, brings back whatever dtype was saved.
    net.load_state_dict(tensors, assign=True)


def _check_dtypes(
    pieces: Mapping[str, Tensor], parts: Layout, expected: Mapping[str, Tensor], file: str
) -> None:
    """Raises BundleError where a number is of another kind than the net's.

    A net of float32 may have been saved as float16, bfloat16 or float64, and comes back as it was saved: then
    all its floating numbers are of that one dtype. Whole numbers keep the dtype that the net gives them.
    """
    for key, part in parts.items():
        found, wanted = pieces[key].dtype, expected[part.name].dtype
        if found != wanted and not (found in _FLOATS and wanted in _FLOATS):
            raise BundleError(
                f"{key} in {file} is {_dtype(found)} and this net holds {_dtype(wanted)} there: {AGAIN}"
            )


def check_one_precision(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raises BundleError where some weights of one dtype were converted and others were not.

    Vectors may be in another precision than matrices and filters: norms are often left in float32.
    """
    goals: dict[tuple[torch.dtype, bool], tuple[torch.dtype, str]] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        before, after = expected[name].dtype, tensor.dtype
        other, first = goals.setdefault((before, tensor.ndim > 1), (after, name))
        if other != after:
            raise BundleError(
                f"{first} is {_dtype(other)} and {name} is {_dtype(after)}, and such a net holds both in one "
                "dtype: convert the whole net (net.float(), net.half()), or download the bundle again"
            )


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_coverage(net: AnytimeNet, parts: Sequence[Part]) -> None:
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    for tensor_name, _ in (*net.named_parameters(), *net.named_buffers()):
        if tensor_name not in shapes:
            raise BundleError(f"{tensor_name} is not in the net's state_dict: make that buffer persistent")
    uncovered = {name: shape.numel() for name, shape in shapes.items()}
    for part in parts:
        shape = shapes.get(part.name)
        if shape is None or any(stop > size for (_, stop), size in zip(part.box, shape, strict=True)):
            raise BundleError(f"keep and parts of the net disagree about {part.name}: {_CURE}")
        uncovered[part.name] -= part.numel
    wrong = [name for name, count in uncovered.items() if count]
    if wrong:
        raise BundleError(f"the parts of the net do not cover {wrong[0]} exactly: {_CURE}")


def _place(
    piece: Tensor, part: Part, shape: torch.Size, tensors: dict[str, Tensor], device: torch.device | str
) -> None:
    """Puts `piece` at its place in the tensor of that name."""
    if part.box == _whole(shape):
        tensors[part.name] = piece.to(device)
        return
    if part.name not in tensors:
        tensors[part.name] = torch.empty(shape, dtype=piece.dtype, device=device)
    goal = tensors[part.name]
    if goal.dtype != piece.dtype:
        raise BundleError(
            f"pieces of {part.name} have different dtypes, {goal.dtype} and {piece.dtype}: {AGAIN}"
        )
    part.of(goal).copy_(piece)


def _parse(data: bytes, file: str, parts: Layout) -> dict[str, Tensor]:
    """The pieces in a shard, once their names and shapes are right."""
    try:
        pieces = parse_safetensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"{file} is no safetensors file ({error}): {AGAIN}") from error
    missing, foreign = sorted(set(parts) - set(pieces)), sorted(set(pieces) - set(parts))
    if missing or foreign:
        raise BundleError(
            f"{file} does not belong to this net (missing: {missing[:3]}, unknown: {foreign[:3]}): {AGAIN}"
        )
    for key, part in parts.items():
        shape, expected = tuple(pieces[key].shape), tuple(stop - start for start, stop in part.box)
        if shape != expected:
            raise BundleError(f"{key} in {file} has shape {shape} and should have {expected}: {AGAIN}")
    return pieces


def _own_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _whole(shape: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple((0, size) for size in shape)
