// The engine in a Worker: loads a folder stage by stage, and runs one image at a time, step by step.
// `anytimenet.js` talks to it; nothing is shared but messages, so that a page needs no special headers.

import { answerOf, standingStage } from "./answers.js";
import { instantiate } from "./engine.js";
import { Folder } from "./folder.js";

const inPage = typeof WorkerGlobalScope !== "undefined";
const port = inPage ? globalThis : (await import(/* @vite-ignore */ /* webpackIgnore: true */ "node:worker_threads")).parentPort;
const BATCH_MS = 30; // of a profile: many ticks of the clock

let engine, model, program, session, canvas;
let current = null; // the run or profile that goes on; another one ends it at the next border of a segment
const loading = new AbortController();

const handlers = {
  async open({ url, throttle }) {
    engine = await instantiate();
    const onBytes = (done, total) => port.postMessage({ type: "bytes", done, total });
    const folder = new Folder(url, engine, { throttle, onBytes, signal: loading.signal });
    const read = await folder.readManifest();
    model = read.model;
    port.postMessage({ type: "model", model });
    const code = await folder.read("program.bin");
    for (const names of read.manifest.weights) {
      const shards = [];
      for (const name of names) shards.push(await folder.read(name));
      grow(program ? program.extended(shards) : engine.load(code, shards));
      port.postMessage({ type: "stage", ready: program.stages });
    }
    if (program.stages < model.stages.length)
      throw new Error("the program reads weights that no file holds: export the net again");
  },

  abandon() {
    loading.abort();
  },

  async run(job) {
    const { id } = job;
    session.begin(inputOf(job.image));
    // On this thread's clock; 0 is none.
    const deadline = job.deadline === null ? 0 : Math.max(1e-3, job.deadline - performance.timeOrigin);
    const validated = model.stages.map((stage) => stage.valAccuracy), answers = [];
    let stands = 0;
    for (let stage = 1; stage <= Math.min(job.stop, program.stages); stage++) {
      const begun = performance.now();
      const { end } = session.run(stage, { deadline, least: stands ? 0 : stage });
      if (end !== "whole") break;
      const segmentMs = performance.now() - begun;
      const answer = answerOf(model, stage, session.output(stage));
      if (answer) {
        answers[stage] = { ...answer, segmentMs };
        stands = standingStage(Object.keys(answers).map(Number), validated);
        port.postMessage({ type: "answer", id, answer: answers[stage] });
      }
      await turn();
      if (current !== job) return; // another one was begun, or nobody waits for this one any more
    }
    if (!stands) throw new Error("every stage that ran answers with NaN or infinity: the weights are of no use");
    port.postMessage({ type: "ended", id, answer: answers[stands] });
  },

  async profile(job) {
    const own = program.session(); // a run goes on where it was
    try {
      const result = await measured(own, job);
      if (result) port.postMessage({ type: "profiled", id: job.id, result });
    } finally {
      own.close();
    }
  },

  abort({ id }) {
    if (current?.id === id) current = null;
  },
};

// A program of more stages in place of the one before; a run that goes on is carried over.
function grow(larger) {
  session ??= larger.session();
  session.follow(larger);
  program?.close();
  program = larger;
}

function inputOf(image) {
  if (image instanceof Float32Array) return image;
  const pixels = typeof ImageBitmap !== "undefined" && image instanceof ImageBitmap ? drawn(image) : image;
  return engine.prepare(pixels, model.preprocessing);
}

function drawn(bitmap) {
  const { width, height } = bitmap;
  if (canvas?.width !== width || canvas?.height !== height) canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.clearRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

// Milliseconds of each step and of the full net. Clocks of pages tick at 0.1 ms: in batches of passes the ticks even out,
// and of the batches the median counts. Null if another run was begun meanwhile.
async function measured(own, job) {
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
  const paths = [all, [stages]], found = [[], []], end = performance.now() + 1000 * job.seconds;
  // Until the code is compiled by the optimising compiler and the time of a pass is known.
  let count = 1;
  for (let spent = 0, most = 0; most < BATCH_MS && spent < 1000; count *= 2) {
    const begun = performance.now();
    batch(all, count);
    most = performance.now() - begun;
    spent += most;
    if (most >= BATCH_MS) break;
    await turn();
    if (current !== job) return null;
  }
  do {
    for (const [i, path] of paths.entries()) {
      found[i].push(batch(path, count));
      await turn();
      if (current !== job) return null;
    }
  } while (performance.now() < end);
  const middle = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];
  return {
    stepMs: all.map((_, i) => middle(found[0].map((sums) => sums[i]))),
    fullMs: middle(found[1].map(([ms]) => ms)),
  };
}

// Lets messages in. A timer would wait for 4 ms.
const { port1, port2 } = new MessageChannel();
const waiting = [];
listen(port1, () => waiting.shift()());
port1.start?.();
if (!inPage) port1.unref();
function turn() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(0);
  });
}

function listen(from, handle) {
  if (inPage) from.addEventListener("message", (event) => handle(event.data));
  else from.on("message", handle);
}

listen(port, async (message) => {
  if (message.type === "run" || message.type === "profile") current = message;
  try {
    await handlers[message.type](message);
  } catch (error) {
    port.postMessage({ type: "error", of: message.type, id: message.id, message: error.message });
  }
});
port.postMessage({ type: "here" });
