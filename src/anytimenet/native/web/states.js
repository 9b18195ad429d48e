// States of sessions, to go on from in another one; no page needs them.

/** Copies of the tensors of a session's state, in its order. */
export function stateOf({ engine, program, handle, stage }) {
  const { calls } = engine, found = [];
  const count = program.engine.calls.anytime_state_tensors(program.handle, stage);
  for (let i = 0; i < count; i++) {
    const size = Number(calls.anytime_read_state(handle, i, 0));
    found.push(
      engine.with([4 * size], ([at]) => {
        calls.anytime_read_state(handle, i, at);
        return engine.floats(at, size).slice();
      }),
    );
  }
  return found;
}

/** Goes on from a state that `stateOf` gave at `stage`, in any session of the same program. */
export function restore({ engine, program, handle }, stage, tensors) {
  const { calls } = engine;
  const count = program.engine.calls.anytime_state_tensors(program.handle, stage);
  if (count !== tensors.length)
    throw new RangeError(`the state at stage ${stage} has ${count} tensors, not ${tensors.length}`);
  engine.with([4 * count, ...tensors], ([table, ...places]) => {
    new Uint32Array(calls.memory.buffer, table, count).set(places);
    calls.anytime_restore(handle, stage, table);
  });
}
