// run_programs.mjs: for each case {folder, shards, x} the logits on every path through its program, in Node.
import { readFileSync } from "node:fs";
import { instantiate } from "../../src/anytimenet/native/web/engine.js";
import { restore, stateOf } from "../../src/anytimenet/native/web/states.js";
import { given } from "./browser.mjs";

const engine = await instantiate();
const found = [];
for (const one of await given()) {
  const read = (name) => readFileSync(`${one.folder}/${name}`);
  const program = engine.load(read("program.bin"), one.shards.map(read));
  found.push(paths(program, Float32Array.from(one.x)));
  program.close();
}
process.stdout.write(JSON.stringify(found));

function cancelAfter({ engine, handle }, polls) {
  engine.calls.anytime_cancel_after(handle, BigInt(polls));
}

function paths(program, x) {
  const all = Array.from({ length: program.stages }, (_, i) => i + 1);
  const session = program.session({ poison: true }), other = program.session({ poison: true });
  const run = (one, stop, options) => {
    const ran = one.run(stop, options);
    return { ...ran, output: ran.answered ? Array.from(one.output(ran.answered)) : null };
  };
  session.begin(x);
  const steps = [], resumed = [];
  for (const stop of all) {
    steps.push(run(session, stop));
    if (stop === program.stages) break;
    restore(other, stop, stateOf(session));
    resumed.push(run(other, program.stages));
  }
  const jumps = all.map((stop) => (session.begin(x), run(session, stop)));
  // Ended after so many looks at the stop flag, and gone on with.
  const stopped = [];
  for (let polls = 0; polls < 400; polls++) {
    session.begin(x);
    cancelAfter(session, polls);
    const ran = run(session, program.stages);
    if (ran.end === "whole") {
      cancelAfter(session, -1);
      break;
    }
    stopped.push({ ...ran, goneOn: run(session, program.stages) });
  }
  session.begin(x);
  const overdue = run(session, program.stages, { deadline: performance.now() - 1, least: 1 });
  session.close(), other.close();
  return { steps, resumed, jumps, stopped, overdue };
}
