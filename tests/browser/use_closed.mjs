// use_closed.mjs: {program, shard (base64)}: what is said of each use of what was closed or is another engine's.
import { instantiate } from "../../src/anytimenet/native/web/engine.js";
import { restore, stateOf } from "../../src/anytimenet/native/web/states.js";
import { given } from "./browser.mjs";

const content = await given();
const [program, shard] = [content.program, content.shard].map((text) => Buffer.from(text, "base64"));
const engine = await instantiate(), another = await instantiate();
const open = () => engine.load(program, [shard]);
const said = (work) => {
  try {
    return String(work());
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError || error instanceof WebAssembly.Exception) throw error;
    return error.message;
  }
};
const closed = open(), loaded = open(), session = loaded.session(), going = loaded.session();
closed.close(), closed.close(), session.close(), session.close();
const x = new Float32Array(loaded.inputShape.reduce((a, b) => a * b));
going.begin(x);
loaded.close(); // `going` keeps what it needs
const found = [
  () => closed.session(), () => closed.extended([shard]), () => session.begin(x),
  () => session.run(1), () => session.stage, () => session.output(1),
  () => stateOf(session), () => restore(session, 1, []), () => session.follow(open()), () => going.follow(closed),
  () => going.follow(another.load(program, [shard])), () => going.follow(open()),
].map(said);
process.stdout.write(JSON.stringify({ found, ran: going.run(1).answered }));
