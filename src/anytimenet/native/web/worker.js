// The engine in a Worker: loads a folder stage by stage, and runs one image at a time, step by step.
// `anytimenet.js` talks to it; nothing is shared but messages, so that a page needs no special headers.

import { answerOf, standingStage } from "./answers.js";
import { instantiate } from "./engine.js";
import { Folder } from "./folder.js";

const inPage = typeof WorkerGlobalScope !== "undefined";
const port = inPage ? globalThis : (await import(/* @vite-ignore */ /* webpackIgnore: true */ "node:worker_threads")).parentPort;

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
      const { measured } = await import("./profile.js"); // no answer waits for it
      if (current !== job) return;
      const result = await measured(program, own, job.seconds, { turn, goesOn: () => current === job });
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
