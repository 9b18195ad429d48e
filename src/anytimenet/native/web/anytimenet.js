// Nets of anytimenet in a page: answers within any time, from an exported folder, in a Worker.
//
//     import { open } from "./anytimenet.js";
//     const net = await open("exported/");               // stage 1 can answer; the rest goes on loading
//     for await (const answer of net.run(image, { deadlineMs: 30 })) console.log(answer.stage, answer.label);

/** Opens a folder that `anytimenet export --format native` wrote, behind a URL.
 *
 * Resolves to a `Net` once stage 1 can answer; further weight files go on loading, each checked against its hash.
 * `onStage(ready, stages)`: after each stage that can answer. `onBytes(done, total)`: of all files.
 * `signal`: ends the loading; stages that are there stay usable. `throttle`: bytes a second, to see it load.
 * Rejects with an Error if stage 1 cannot be loaded. */
export async function open(url, { onStage = () => {}, onBytes = () => {}, signal, throttle = 0 } = {}) {
  signal?.throwIfAborted();
  if (!(throttle >= 0)) throw new RangeError(`throttle: bytes a second are needed, not ${throttle}`);
  const base = typeof document === "undefined" ? undefined : document.baseURI;
  const net = new Net(await startWorker(), { onStage, onBytes });
  const abandon = () => net.abandon(signal.reason);
  signal?.addEventListener("abort", abandon);
  net.loaded.then(() => signal?.removeEventListener("abort", abandon));
  const opened = net.open(new URL(url, base).href, throttle);
  if (signal?.aborted) abandon(); // while the Worker started
  return opened;
}

async function startWorker() {
  const file = new URL("./worker.js", import.meta.url);
  if (typeof Worker !== "undefined") return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const threads = await import(/* @vite-ignore */ /* webpackIgnore: true */ "node:worker_threads");
  return new threads.Worker(file);
}

/** A net whose first stages can answer. */
class Net {
  #worker;
  #calls = new Map(); // runs and profiles that wait for messages, by id
  #last = 0;
  #run = null;
  #opened;
  #ended;
  #options;

  constructor(worker, options) {
    this.#worker = worker;
    this.#options = options;
    /** {name, stages: [{macs, valAccuracy, bytes}], classNames, levels, input: {height, width, channels}}. */
    this.model = null;
    /** Stages that can answer now. */
    this.ready = 0;
    /** Why further stages cannot be loaded: an Error, or null. */
    this.failed = null;
    /** Resolves when loading has ended, in whatever way, to the stages that can answer. */
    this.loaded = new Promise((resolve) => (this.#ended = resolve));
    const lost = (error) => this.#lose(error instanceof Error ? error : new Error(error.message ?? "the Worker failed"));
    if (worker.on) {
      worker.on("message", (message) => this.#take(message));
      worker.on("error", lost);
    } else {
      worker.addEventListener("message", (event) => this.#take(event.data));
      worker.addEventListener("error", lost);
    }
  }

  open(url, throttle) {
    return new Promise((resolve, reject) => {
      this.#opened = { resolve, reject, url, throttle };
    });
  }

  abandon(reason) {
    this.#fail(reason);
    this.#worker.postMessage({ type: "abandon" });
  }

  /** Answers for an image, as they come: an async iterator that gives one answer for each finished stage, and at the
   * end once more the one that stands, the best validated, with `final: true`.
   *
   * `image`: ImageData, ImageBitmap, {data, width, height} with RGBA in a Uint8ClampedArray; or a Float32Array
   * (channels, height, width) that is standardised already.
   * `deadlineMs`: from this call; stage 1 always answers, then the run ends within a segment. `stop`: the last stage.
   * `signal`: ends the run, and the iterator throws its reason. A new run ends the one before, whose iterator is then
   * over. A stage whose weights are not here yet ends the run: it never waits for the network. */
  run(image, { deadlineMs, stop, signal } = {}) {
    signal?.throwIfAborted();
    const stages = this.model.stages.length;
    if (deadlineMs !== undefined && !(deadlineMs >= 0 && deadlineMs < Infinity))
      throw new RangeError(`deadlineMs: milliseconds from now are needed, not ${deadlineMs}`);
    if (stop !== undefined && !(Number.isInteger(stop) && stop >= 1 && stop <= stages))
      throw new RangeError(`stop: a stage of 1 to ${stages} is needed, not ${stop}`);
    const called = epoch();
    const given = plain(image, this.model.input);
    this.#run?.end();
    const id = ++this.#last;
    const run = new Run({ called, deadlineMs, signal }, () => {
      this.#calls.delete(id);
      if (this.#run === run) this.#run = null;
      this.#worker.postMessage({ type: "abort", id });
    });
    this.#run = run;
    this.#calls.set(id, run);
    if (this.closed) run.fail(this.closed);
    else {
      const deadline = deadlineMs === undefined ? null : called + deadlineMs;
      this.#worker.postMessage({ type: "run", id, called, deadline, stop: stop ?? stages, image: given });
    }
    return run;
  }

  /** Measures the steps on this machine: {stepMs: one a stage that is here, fullMs}, medians in milliseconds.
   *
   * `seconds`: how long; a run that is begun meanwhile ends it with an Error. */
  profile({ seconds = 2 } = {}) {
    if (!(seconds >= 0 && seconds <= 60)) throw new RangeError(`seconds: 0 to 60 are needed, not ${seconds}`);
    this.#run?.end();
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const call = { profiled: resolve, fail: reject, end: () => reject(new Error("a run was begun, which ended the profile")) };
      call.over = () => this.#calls.delete(id);
      this.#run = call;
      this.#calls.set(id, call);
      if (this.closed) reject(this.closed);
      else this.#worker.postMessage({ type: "profile", id, seconds });
    });
  }

  /** Ends everything and frees the memory. */
  close() {
    this.#lose(new Error("the net was closed"));
  }

  #take(message) {
    const call = this.#calls.get(message.id);
    switch (message.type) {
      case "here":
        return this.#worker.postMessage({ type: "open", url: this.#opened.url, throttle: this.#opened.throttle });
      case "model":
        return void (this.model = message.model);
      case "bytes":
        return this.#options.onBytes(message.done, message.total);
      case "stage":
        this.ready = message.ready;
        this.#opened.resolve(this);
        if (this.ready === this.model.stages.length) this.#ended(this.ready);
        return this.#options.onStage(this.ready, this.model.stages.length);
      case "answer":
        return call?.add(message.answer);
      case "ended":
        call?.add(message.answer, true);
        return call?.end();
      case "profiled":
        this.#calls.delete(message.id);
        if (this.#run === call) this.#run = null;
        return call?.profiled(message.result);
      case "error":
        if (message.of === "open") return this.#fail(new Error(message.message));
        return call?.fail(new Error(message.message));
    }
  }

  #fail(error) {
    if (this.ready && this.ready === this.model.stages.length) return;
    this.failed ??= error;
    this.#ended(this.ready);
    if (this.ready) return;
    this.#opened?.reject(this.failed);
    this.#lose(this.failed);
  }

  #lose(error) {
    if (this.closed) return;
    this.closed = error;
    this.#fail(error);
    for (const call of [...this.#calls.values()]) call.fail(error);
    this.#worker.terminate();
  }
}

/** The answers of one run. */
class Run {
  #answers = [];
  #waiting = [];
  #late = new Map(); // by stage
  #over = false;
  #error = null;
  #options;
  #release;

  constructor(options, release) {
    this.#options = options;
    this.#release = release;
    this.aborted = () => this.fail(options.signal.reason);
    options.signal?.addEventListener("abort", this.aborted);
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#serve();
    });
  }

  return(value) {
    this.end();
    this.#answers = [];
    return Promise.resolve({ done: true, value });
  }

  add(answer, final = false) {
    if (this.#over) return;
    const elapsedMs = epoch() - this.#options.called, { deadlineMs } = this.#options;
    // What stands at the end was told when its stage was finished.
    if (!final) this.#late.set(answer.stage, deadlineMs !== undefined && elapsedMs > deadlineMs);
    this.#answers.push({ ...answer, elapsedMs, late: this.#late.get(answer.stage), final });
    this.#serve();
  }

  end() {
    if (this.#over) return;
    this.#over = true;
    this.#options.signal?.removeEventListener("abort", this.aborted);
    this.#release();
    this.#serve();
  }

  fail(error) {
    if (this.#over) return;
    this.#error = error;
    this.#answers = [];
    this.end();
  }

  #serve() {
    while (this.#waiting.length && (this.#answers.length || this.#over)) {
      const { resolve, reject } = this.#waiting.shift();
      if (this.#answers.length) resolve({ done: false, value: this.#answers.shift() });
      else if (this.#error) {
        reject(this.#error);
        this.#error = null;
      } else resolve({ done: true, value: undefined });
    }
  }
}

// What a message can carry, of an image that is checked.
function plain(image, { channels, height, width }) {
  if (image instanceof Float32Array) {
    if (image.length !== channels * height * width)
      throw new TypeError(`image: ${channels} x ${height} x ${width} floats are needed, not ${image.length}`);
    return image;
  }
  if (typeof ImageBitmap !== "undefined" && image instanceof ImageBitmap) return image;
  const { data, width: w, height: h } = image ?? {};
  if (!(data instanceof Uint8ClampedArray || data instanceof Uint8Array) || !(w >= 1 && h >= 1) || data.length !== 4 * w * h)
    throw new TypeError("image: ImageData, an ImageBitmap or {data, width, height} with four bytes a pixel is needed");
  return { data, width: w, height: h };
}

function epoch() {
  return performance.timeOrigin + performance.now();
}
