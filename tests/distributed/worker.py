"""One of two processes that run scenarios together: `worker.py STORE RANK`, a JSON line in, one out."""

from __future__ import annotations

import json
import os
import sys
import warnings

store, rank = sys.argv[1], int(sys.argv[2])
# What a launcher sets. The group meets in a file, so no port can be taken by somebody else.
os.environ |= {"WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
answers, sys.stdout = sys.stdout, sys.stderr

import scenarios  # type: ignore[import-not-found]  # noqa: E402  (beside this file)
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

warnings.simplefilter("error")
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
for line in sys.stdin:
    name, arguments = json.loads(line)
    try:
        answer = {"value": getattr(scenarios, name)(rank, **arguments)}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)
