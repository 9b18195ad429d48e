"""Exits as a policy would have decided them, from outputs of all stages that were stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anytimenet.runtime.backends.backend import Output
from anytimenet.runtime.policies.policy import ExitPolicy, asked


def simulated_exits(policy: ExitPolicy, outputs: Sequence[Output]) -> np.ndarray:
    """The stage, from 1, at which each example leaves, `(N,)`.

    The same policy decides on the same numbers as in a run. So both agree exactly where the outputs came
    from the same backend, segments and batches; else wherever the confidence is further from its threshold
    than backends differ.

    Args:
        policy: for nets of as many stages as there are outputs.
        outputs: of every stage 1..K, of the same N examples. Whoever is left after the last one leaves there.

    Raises:
        ValueError: for no outputs, or those of another number of stages.

    >>> from anytimenet.runtime.policies.thresholds import ConfidencePolicy
    >>> sure, unsure = [3.0, 0.0], [0.5, 0.0]
    >>> policy = ConfidencePolicy("max_probability", (0.9, None))
    >>> simulated_exits(policy, [(np.array([sure, unsure]),), (np.array([sure, sure]),)]).tolist()
    [1, 2]
    """
    if not outputs or policy.num_stages not in (None, len(outputs)):
        raise ValueError(
            f"the policy is for {policy.num_stages} stages, and there are {len(outputs)} outputs"
        )
    count = len(outputs[0][0])
    stages, memory = np.full(count, len(outputs)), policy.begin(count)
    remaining = np.arange(count)
    for stage, output in enumerate(outputs, 1):
        leaves, memory = asked(policy, stage, tuple(level[remaining] for level in output), memory)
        stages[remaining[leaves]] = stage
        stay = np.flatnonzero(~leaves)
        remaining, memory = remaining[stay], memory.rows(stay)
        if not len(remaining):
            break
    return stages
