"""All steps of the engine, one stage after the other, over the same kernels one layer after the other.

Layer by layer is how a net without stages would run: what is read of a layer's state is still in the cache
when the next slice reads it. The program exists for this benchmark alone; its logits are the same.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from native.layers import HEADER_WORDS, OP_WORDS, TENSOR_WORDS
from timing import fresh, interleave

from anytimenet.export.native_files import program_of
from anytimenet.export.native_program import Code, Kind
from anytimenet.export.stored import StoredWeights
from anytimenet.native.engine import Engine, NativeSession
from anytimenet.nets import create_net
from anytimenet.nets.registry import net_entry

NAME = "native-layer-major"
REACH = {"isresnext_47": 1.02, "isresnext_62_imagenet": 1.05}
CALLS = {"isresnext_47": 8}
STAGE_WORDS = 10


def measure(rounds: int) -> dict[str, Any]:
    """For each net all steps over the pass layer by layer; both end with the head of the last stage."""
    return {"rows": [fresh(_compare, name, rounds) for name in REACH]}


def _compare(name: str, rounds: int) -> dict[str, Any]:
    net, shape = create_net(name).eval(), net_entry(name).input_shape
    stored = StoredWeights(net)
    program, shards = program_of(net, shape, stored), [data for _, data in stored.files]
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    steps, layers = Engine(program, shards).session(), Engine(layer_major(program), shards).session()
    stages, calls = net.num_stages, CALLS.get(name, 1)
    np.testing.assert_array_equal(_run(steps, x, stages, 1), _run(layers, x, 1, 1))
    times = interleave(
        {
            "steps": lambda: _run(steps, x, stages, calls),
            "layers": lambda: _run(layers, x, 1, calls),
        },
        rounds * 3,
        twice=True,
    )
    least = min(times.cpu["steps"]) / min(times.cpu["layers"])
    return {
        "what": f"{name}: all steps over a pass layer by layer",
        **times.ratio("steps", "layers"),
        "of least times": round(least, 3),
        "reach": REACH[name],
        "ms": round(times.median_ms("steps") / calls, 3),
    }


def _run(session: NativeSession, x: np.ndarray, stop: int, calls: int) -> np.ndarray:
    for _ in range(calls):
        session.begin(x)
        session.run(stop)
    return session.output(stop)


def layer_major(program: bytes) -> bytes:
    """One stage that runs the operators of all bodies layer by layer, and the head of the last stage."""
    words = list(struct.unpack(f"<{len(program) // 4}i", program))
    counts = dict(
        zip(("tensors", "chunks", "weights", "ops", "stages", "states", "outputs"), words[4:11], strict=True)
    )
    sizes = (TENSOR_WORDS, 8, 4, OP_WORDS, STAGE_WORDS, 2, 1)
    tables: dict[str, list[list[int]]] = {}
    at = HEADER_WORDS
    for (key, count), size in zip(counts.items(), sizes, strict=True):
        tables[key] = [words[at + size * row : at + size * (row + 1)] for row in range(count)]
        at += size * count
    bodies = [tables["ops"][row[0] : row[0] + row[1]] for row in tables["stages"][1:]]
    bodies = [_own_scratch(body, tables["tensors"], first=not place) for place, body in enumerate(bodies)]
    layers = [_layers(body) for body in bodies]
    body = [
        op
        for place in range(max(map(len, layers)))
        for own in layers
        for op in (own[place] if place < len(own) else [])
    ]
    first, last = tables["stages"][0], tables["stages"][-1]
    head = tables["ops"][last[2] : last[2] + last[3]]
    outputs = tables["outputs"][last[6] : last[6] + last[7]]
    states = tables["states"][first[4] : first[4] + first[5]]
    stages = [first, [0, len(body), len(body), len(head), len(states), 0, 0, len(outputs), last[8], 0]]
    tables |= {"ops": body + head, "stages": stages, "states": states, "outputs": outputs}
    header = [*words[:3], 1, *(len(tables[key]) for key in counts), *words[11:HEADER_WORDS]]
    flat = header + [word for key in counts for row in tables[key] for word in row]
    return struct.pack(f"<{len(flat)}i", *flat)


def _own_scratch(body: list[list[int]], tensors: list[list[int]], *, first: bool) -> list[list[int]]:
    """Slices that take turns must not share what a stage alone forgets."""
    if first:
        return body
    renamed: dict[int, int] = {}

    def own(tensor: int) -> int:
        if tensor < 0 or tensors[tensor][0] != Kind.SCRATCH:
            return tensor
        if tensor not in renamed:
            renamed[tensor] = len(tensors)
            tensors.append(list(tensors[tensor]))
        return renamed[tensor]

    return [[*op[:2], own(op[2]), *op[3:5], own(op[5]), op[6], own(op[7]), *op[8:]] for op in body]


def _layers(body: list[list[int]]) -> list[list[list[int]]]:
    """An operator with those behind it that the engine does along with it: they must stay together."""
    found: list[list[list[int]]] = []
    for op in body:
        before = found[-1][-1] if found else None
        joins = op[0] == Code.AFFINE and before is not None and op[2] == before[7]
        if joins:
            found[-1].append(op)
        else:
            found.append([op])
    return found
