"""The promise that segments can leave Python."""

from __future__ import annotations

import torch
from torch.export import Dim

from anytimenet.testing.net_under_test import BATCH, NetUnderTest
from anytimenet.testing.promise import BreachError, agree, promise

OTHER_BATCHES = (1, BATCH + 2)


@promise("export")
@torch.no_grad()
def check_export(subject: NetUnderTest) -> None:
    """`torch.export` takes the first, a middle and the last step with a dynamic batch, and the exported
    programs give the segments' outputs and states (1e-9) at batches of 1 and 5 too.
    """
    middle = (subject.num_stages + 1) // 2
    states = {count: subject.states_of(subject.images(count)) for count in OTHER_BATCHES}
    for stop in sorted({1, middle, subject.num_stages}):
        start = stop - 1
        segment, state = subject.segment(start, stop), subject.states[start]
        where = f"segment ({start}, {stop})"
        batch = Dim("batch")
        shapes = (tuple({0: batch} for _ in state),)
        try:
            program = torch.export.export(segment, (state,), dynamic_shapes=shapes).module()
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise BreachError(
                f"{where} cannot be exported: {type(error).__name__}: {reason}",
                "Python decides by a tensor's value (.item(), if) or takes the batch size as a constant",
            ) from error
        for count, others in states.items():
            cause = "a value was taken as a constant while exporting"
            new_state, output = program(others[start])
            agree(output, segment(others[start])[1], f"exported {where} on a batch of {count}", cause)
            agree(new_state, others[stop], f"the state of exported {where} on a batch of {count}", cause)
