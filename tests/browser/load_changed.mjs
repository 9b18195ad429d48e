// load_changed.mjs: {program, shard (base64), changes}: what the engine says of each changed program that it refuses,
// and "ran" of those that it runs; a trap ends the script.
import { instantiate } from "../../src/anytimenet/native/web/engine.js";
import { given } from "./browser.mjs";

const { program, shard, changes } = await given();
const engine = await instantiate();
const bytes = Buffer.from(program, "base64"), weights = Buffer.from(shard, "base64");
const found = changes.map(({ size, words, shards }) => {
  const changed = Buffer.from(bytes.subarray(0, size ?? bytes.length));
  for (const [place, word] of words ?? []) changed.writeInt32LE(word, 4 * place);
  try {
    const loaded = engine.load(changed, shards === undefined ? [weights] : shards.map((n) => weights.subarray(0, n)));
    try {
      const session = loaded.session({ poison: true });
      try {
        session.begin(new Float32Array(loaded.inputShape.reduce((a, b) => a * b)).fill(1));
        if (loaded.stages) session.run(loaded.stages);
      } finally {
        session.close();
      }
    } finally {
      loaded.close();
    }
    return "ran";
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError || error instanceof WebAssembly.Exception) throw error;
    return error.message;
  }
});
process.stdout.write(JSON.stringify({ found, memory: engine.memoryBytes }));
