// What the steps of a net take here. The Worker loads it when it is asked for.

const BATCH_MS = 30; // many ticks of the clock

// Milliseconds of each step and of the full net. Clocks of pages tick at 0.1 ms: in batches of passes the ticks even out,
// and of the batches the median counts. Null if another run was begun meanwhile.
export async function measured(program, own, seconds, { turn, goesOn }) {
  const stages = program.stages, x = new Float32Array(program.inputShape.reduce((a, b) => a * b));
  x.forEach((_, i) => (x[i] = Math.sin(i)));
  const all = Array.from({ length: stages }, (_, i) => i + 1);
  const pass = (path, sums) => {
    own.begin(x);
    let before = performance.now();
    path.forEach((stop, i) => {
      own.run(stop);
      own.output(stop);
      const now = performance.now();
      sums[i] += now - before;
      before = now;
    });
  };
  const batch = (path, count) => {
    const sums = path.map(() => 0);
    for (let i = 0; i < count; i++) pass(path, sums);
    return sums.map((sum) => sum / count);
  };
  const paths = [all, [stages]], found = [[], []], end = performance.now() + 1000 * seconds;
  // Until the code is compiled by the optimising compiler and the time of a pass is known.
  let count = 1;
  for (let spent = 0, most = 0; most < BATCH_MS && spent < 1000; count *= 2) {
    const begun = performance.now();
    batch(all, count);
    most = performance.now() - begun;
    spent += most;
    if (most >= BATCH_MS) break;
    await turn();
    if (!goesOn()) return null;
  }
  do {
    for (const [i, path] of paths.entries()) {
      found[i].push(batch(path, count));
      await turn();
      if (!goesOn()) return null;
    }
  } while (performance.now() < end);
  const middle = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];
  return {
    stepMs: all.map((_, i) => middle(found[0].map((sums) => sums[i]))),
    fullMs: middle(found[1].map(([ms]) => ms)),
  };
}
