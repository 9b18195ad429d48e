// The engine in WebAssembly: a small loader and synchronous calls. Runs in Node, in a Worker and in a window.
// It knows programs, weights and numbers; labels, files and deadlines of a page are `anytimenet.js`'s.

const FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]; // by their numbers
const REASONS = {
  [-1]: "its shape or the preprocessing is none that the engine knows",
  [-2]: "it has too many pixels, or is too long and thin to be resized",
  [-3]: "there is not enough memory",
};
const ENDS = ["whole", "cancelled", "deadline"];
// The engine of what was closed: its memory is another one's by now.
const CLOSED = new Proxy({}, {
  get() {
    throw new Error("it was closed: open another one");
  },
});

/** The engine, instantiated.
 *
 * `source`: a URL, the bytes, or a compiled `WebAssembly.Module`; by default engine.wasm beside this file. */
export async function instantiate(source = new URL("./engine.wasm", import.meta.url)) {
  const given = source instanceof WebAssembly.Module || source instanceof ArrayBuffer || ArrayBuffer.isView(source);
  const code = given ? source : await bytesOf(new URL(source));
  let memory;
  const imports = {
    env: { emscripten_notify_memory_growth() {} },
    wasi_snapshot_preview1: {
      clock_time_get(_clock, _precision, to) {
        const nanoseconds = BigInt(Math.round(performance.now() * 1e6));
        new DataView(memory.buffer).setBigUint64(to, nanoseconds, true);
        return 0;
      },
      proc_exit(code) {
        throw new Error(`the engine ended with ${code}`);
      },
    },
  };
  const made = await WebAssembly.instantiate(code, imports);
  const { exports } = made.instance ?? made;
  memory = exports.memory;
  exports._initialize();
  return new Engine(exports);
}

/** What lies behind a URL; of a file in Node. */
export async function bytesOf(url) {
  if (url.protocol === "file:") {
    const { readFile } = await import(/* @vite-ignore */ /* webpackIgnore: true */ "node:fs/promises");
    return readFile(url);
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} cannot be fetched: ${response.status}`);
  return response.arrayBuffer();
}

/** What was instantiated: loads programs, each with memory of its own inside the engine's. */
export class Engine {
  constructor(exports) {
    this.calls = exports;
  }

  /** Bytes of its memory; it never shrinks. */
  get memoryBytes() {
    return this.calls.memory.buffer.byteLength;
  }

  /** SHA-256 in hexadecimal, which pages off localhost do not have otherwise. */
  sha256(data) {
    return this.with([data], ([at]) =>
      this.with([32], ([digest]) => {
        this.calls.anytime_sha256(at, data.byteLength, digest);
        return Array.from(this.bytes(digest, 32), (byte) => byte.toString(16).padStart(2, "0")).join("");
      }),
    );
  }

  /** A program with the first weight files, of which nothing is kept but the packed numbers.
   *
   * Throws an Error that says what does not fit. */
  load(program, shards) {
    return this.with([program], ([at]) =>
      this.loaded(shards, (...given) => {
        const [message, room] = given.splice(3);
        return this.calls.anytime_load(at, program.byteLength, ...given, 0, message, room);
      }),
    );
  }

  // `call` is given the tables of the weight files, and room for a message.
  loaded(shards, call) {
    const count = shards.length;
    return this.with([8 * count, 256, ...shards], ([tables, message, ...places]) => {
      const words = new Uint32Array(this.calls.memory.buffer, tables, 2 * count);
      words.set([...places, ...shards.map((shard) => shard.byteLength)]);
      const handle = call(tables, tables + 4 * count, count, message, 256);
      if (handle) return new Program(this, handle);
      throw new Error(`the engine refuses the program or its weights (${this.text(message)}): export it again`);
    });
  }

  /** An upright image of 8 bits a channel as the input of a net, as Python prepares it.
   *
   * `image`: {data, width, height} with 1, 3 or 4 bytes a pixel: grey, RGB, or RGB and how opaque it is.
   * `preprocessing`: that of the manifest. */
  prepare({ data, width, height }, preprocessing) {
    const { height: rows, width: columns, channels, mean, std, resample, shorter_side: shorter } = preprocessing;
    const count = channels * rows * columns;
    return this.with([data, 72, 4 * count], ([pixels, fields, to]) => {
      const view = new DataView(this.calls.memory.buffer, fields);
      [rows, columns, channels, FILTERS.indexOf(resample), shorter ?? 0, 0].forEach((word, i) =>
        view.setInt32(4 * i, word, true),
      );
      mean.forEach((value, i) => view.setFloat64(24 + 8 * i, value, true));
      std.forEach((value, i) => view.setFloat64(48 + 8 * i, value, true));
      const bytes = data.byteLength / (width * height);
      const failed = this.calls.anytime_prepare(pixels, height, width, bytes, fields, to);
      if (failed) throw new Error(`an image of ${width}x${height} cannot be prepared: ${REASONS[failed]}`);
      return this.floats(to, count).slice();
    });
  }

  // Memory inside the engine while `work` runs, for each thing a place: bytes are copied there, a number is room.
  with(things, work) {
    const places = [];
    try {
      for (const thing of things) {
        const size = typeof thing === "number" ? thing : thing.byteLength;
        places.push(this.take(size));
        if (typeof thing !== "number")
          this.bytes(places.at(-1), size).set(
            ArrayBuffer.isView(thing)
              ? new Uint8Array(thing.buffer, thing.byteOffset, size)
              : new Uint8Array(thing),
          );
      }
      return work(places);
    } finally {
      places.forEach((place) => this.calls.free(place));
    }
  }

  take(size) {
    const at = this.calls.malloc(Math.max(size, 1)) >>> 0;
    if (!at) throw new RangeError(`there is no memory for ${size} bytes`);
    return at;
  }

  bytes(at, count) {
    return new Uint8Array(this.calls.memory.buffer, at, count);
  }

  floats(at, count) {
    return new Float32Array(this.calls.memory.buffer, at, count);
  }

  text(at) {
    const rest = new Uint8Array(this.calls.memory.buffer, at);
    return new TextDecoder().decode(rest.slice(0, rest.indexOf(0)));
  }
}

/** A loaded program with the weights of its first stages; sessions share it. */
export class Program {
  constructor(engine, handle) {
    this.engine = engine;
    this.handle = handle;
    const { calls } = engine;
    /** Stages whose weights are there. */
    this.stages = calls.anytime_stages(handle);
    /** Channels, height and width of the input. */
    this.inputShape = engine.with([12], ([at]) => {
      calls.anytime_input_shape(handle, at);
      return Array.from(new Int32Array(calls.memory.buffer, at, 3));
    });
  }

  /** A session; with `poison` its memory is NaN wherever nothing was written, for tests. */
  session({ poison = false } = {}) {
    const handle = this.engine.calls.anytime_open(this.handle, poison ? 1 : 0);
    if (!handle) throw new RangeError("there is no memory for a session");
    return new Session(this, handle);
  }

  /** Another program that has the next weight files, too; what this one has packed is shared with it. */
  extended(shards) {
    return this.engine.loaded(shards, (...given) => this.engine.calls.anytime_extend(this.handle, ...given));
  }

  /** Frees the weights, once the last session is closed. */
  close() {
    if (this.engine !== CLOSED) this.engine.calls.anytime_unload(this.handle);
    this.engine = CLOSED;
  }
}

/** One run at a time, on memory of its own. */
export class Session {
  constructor(program, handle) {
    this.program = program;
    this.engine = program.engine;
    this.handle = handle;
  }

  /** The stage that is finished; -1 before an input has come. */
  get stage() {
    return this.engine.calls.anytime_stage(this.handle);
  }

  /** A new input: standardised, (channels, height, width), a Float32Array. */
  begin(x) {
    const count = this.program.inputShape.reduce((a, b) => a * b);
    if (!(x instanceof Float32Array) || x.length !== count)
      throw new TypeError(`a Float32Array of ${this.program.inputShape.join(" x ")} is needed`);
    this.engine.with([x], ([at]) => this.engine.calls.anytime_begin(this.handle, at));
  }

  /** On to stage `stop`.
   *
   * `deadline`: on the clock of `performance.now()`; from stage `least` on the run ends there, at the next block.
   * `answers`: for each stage 0..K the one whose output stands if the run ends there; by default itself.
   * Gives {stage, answered, end}: what is finished, whose output stands (0: none), and "whole", "cancelled" or
   * "deadline". */
  run(stop, { deadline = 0, least = 0, answers = null } = {}) {
    const { calls } = this.engine, stages = this.program.stages;
    if (answers && answers.length <= stages)
      throw new RangeError(`answers: one for each stage 0 to ${stages}, not ${answers.length}`);
    return this.engine.with([24, 12, 4 * (answers?.length ?? 0)], ([options, result, table]) => {
      const view = new DataView(calls.memory.buffer);
      view.setInt32(options, stop, true);
      view.setInt32(options + 4, least, true);
      view.setBigInt64(options + 8, deadline ? BigInt(Math.max(1, Math.round(deadline * 1e6))) : 0n, true);
      view.setUint32(options + 16, answers ? table : 0, true);
      answers?.forEach((stage, i) => view.setInt32(table + 4 * i, stage, true));
      if (calls.anytime_run(this.handle, options, result))
        throw new RangeError(`stage ${stop} does not follow stage ${this.stage} of ${stages}`);
      const [stage, answered, end] = new Int32Array(calls.memory.buffer, result, 3);
      return { stage, answered, end: ENDS[end] };
    });
  }

  /** Goes on with a program that was extended from its own, and keeps its state. */
  follow(program) {
    if (program.engine !== this.engine || this.engine.calls.anytime_follow(this.handle, program.handle))
      throw new RangeError("a session goes on with a program that was extended from its own, and no other");
    this.program = program;
  }

  /** The logits of a stage that has an output, all label levels one after the other. */
  output(stage) {
    const { calls } = this.engine, count = Number(calls.anytime_output(this.handle, stage, 0));
    return this.engine.with([4 * Math.max(count, 0)], ([at]) => {
      if (count < 0 || calls.anytime_output(this.handle, stage, at) < 0n)
        throw new RangeError(`stage ${stage} has no output here`);
      return this.engine.floats(at, count).slice();
    });
  }

  /** Frees its memory. */
  close() {
    if (this.engine !== CLOSED) this.engine.calls.anytime_close(this.handle);
    this.engine = CLOSED;
  }
}
