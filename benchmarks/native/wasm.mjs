// wasm.mjs FOLDER ROUNDS: milliseconds of the engine in WebAssembly and of onnxruntime-web on one net, interleaved.
// FOLDER has native/, onnx/ and node_modules/; what is printed is JSON.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import process from "node:process";
import { instantiate } from "../../src/anytimenet/native/web/engine.js";

const [, , folder, rounds] = process.argv;
const read = (name) => readFileSync(`${folder}/${name}`);
const shards = (kind) => readdirSync(`${folder}/${kind}`).filter((name) => name.endsWith(".safetensors")).sort();
const LEAST_MS = 40; // of one measurement

async function ours() {
  const engine = await instantiate();
  const program = engine.load(read("native/program.bin"), shards("native").map((name) => read(`native/${name}`)));
  const session = program.session();
  const run = (x, path) => {
    session.begin(x);
    path.forEach((stop) => session.run(stop));
    return session.output(path.at(-1));
  };
  const all = Array.from({ length: program.stages }, (_, i) => i + 1);
  return { engine, program, run, all };
}

async function theirs(shape, stages) {
  const require = createRequire(`${folder}/index.js`);
  const loaded = await import(pathToFileURL(require.resolve("onnxruntime-web/wasm")));
  const ort = loaded.default ?? loaded;
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(read(`onnx/segment-0-${stages}.onnx`), {
    executionProviders: ["wasm"],
    externalData: shards("onnx").map((path) => ({ path, data: read(`onnx/${path}`) })),
  });
  const run = async (x) => {
    const input = new ort.Tensor("float32", x, [1, ...shape]);
    const found = await session.run({ [session.inputNames[0]]: input });
    return found[session.outputNames[0]].data;
  };
  return run;
}

const { engine, program, run, all } = await ours();
const size = program.inputShape.reduce((a, b) => a * b);
let seed = 1;
const x = Float32Array.from({ length: size }, () => ((seed = (seed * 48271) % 2147483647) / 2147483647 - 0.5) * 2);
const last = all.at(-1);
const works = { full: () => run(x, [last]), steps: () => run(x, all), "stage 1": () => run(x, [1]) };
const other = await theirs(program.inputShape, last);
works.theirs = () => other(x);
const [one, two] = [run(x, [last]), await other(x)];
const scale = Math.max(...two.map(Math.abs));
const off = Math.max(...two.map((value, i) => Math.abs(value - one[i]))) / scale;
if (!(off < 1e-3)) throw new Error(`the two do not compute the same: ${off}`);

const calls = {}, times = {};
for (const [name, work] of Object.entries(works)) {
  for (let warm = 0; warm < 20; warm++) await work(); // compiled by the optimising tier
  const begun = performance.now();
  await work();
  calls[name] = Math.max(1, Math.ceil(LEAST_MS / (performance.now() - begun)));
  times[name] = { cpu: [], wall: [] };
}
const names = Object.keys(works);
for (let round = 0; round < Number(rounds); round++) {
  const turn = round % names.length;
  for (const name of [...names.slice(turn), ...names.slice(0, turn)]) {
    const begun = performance.now(), cpu = process.cpuUsage();
    for (let call = 0; call < calls[name]; call++) await works[name]();
    const used = process.cpuUsage(cpu);
    times[name].cpu.push((used.user + used.system) / 1000 / calls[name]);
    times[name].wall.push((performance.now() - begun) / calls[name]);
  }
}
process.stdout.write(JSON.stringify({ times, bytes: engine.memoryBytes }));
