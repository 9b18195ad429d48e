// Answers of `anytimenet serve`. The same interface as sources/engine.js:
//   about                          what the model is: {name, models, classNames, stages, input, demo, samples,
//                                  fullMs}, which one of many images takes the engine in full
//   ready                          how many stages can answer now
//   answers(picture, {deadlineMs, signal})   yields an answer for every stage that finishes
//   measure(picture)               puts the times of stages here into `about.stages`
//   load(), burst(), steal()       numbers of the server, and its demonstration of load
import { events } from "./events.js";

const MEASURED_RUNS = 3;
const MEASURED_WITHIN_MS = 2000;
const MOST_CLASSES = 200; // of so many, every probability is asked for; of more, the first 20

export class Server {
  #key = null;

  /** Asks the server what it holds. Throws Refusal, also where a key is needed. */
  static async open({ model, key, signal } = {}) {
    const server = new Server();
    server.#key = key ?? null;
    const query = model ? `?model=${encodeURIComponent(model)}` : "";
    const [about, all] = await Promise.all([
      server.#ask(`v1/model${query}`, { signal }),
      server.#ask("v1/models", { signal }),
    ]);
    server.about = described(about, all);
    return server;
  }

  kind = "server";

  get ready() {
    return this.about.stages.length;
  }

  /** Every stage as it finishes, then the standing answer, whose `final` is true. */
  async *answers(picture, { deadlineMs, signal }) {
    const { name, classNames } = this.about;
    const query = new URLSearchParams({ model: name, stream: "true", deadline_ms: String(deadlineMs) });
    query.set("top", classNames[0].length <= MOST_CLASSES ? "0" : "20");
    const response = await this.#fetch(`v1/predict?${query}`, {
      method: "POST",
      body: picture.blob,
      headers: { "content-type": picture.blob.type || "image/png", accept: "text/event-stream" },
      signal,
    });
    let ended = false;
    for await (const { event, data } of events(response)) {
      if (event === "error") throw new Refusal(data);
      if (event !== "stage" && event !== "answer") continue;
      ended = event === "answer";
      yield answerOf(data, ended);
    }
    if (!ended) throw new Error("The connection ended before the answer: the server may be gone");
  }

  /** A request costs more than its segments: the middle of some runs, from arrival to answer. */
  async measure(picture) {
    const { stages } = this.about;
    const seen = stages.map(() => []);
    for (let run = 0; run < MEASURED_RUNS; run += 1)
      for await (const { stage, elapsedMs, final } of this.answers(picture, { deadlineMs: MEASURED_WITHIN_MS }))
        if (!final) seen[stage - 1].push(elapsedMs);
    const whole = seen.map((times) => (times.length ? times.sort((a, b) => a - b)[times.length >> 1] : null));
    const last = whole.findLastIndex((ms) => ms !== null);
    const own = stages.map((stage) => stage.ms);
    stages.forEach((stage, i) => {
      const further = own[i] === null || own[last] === null ? null : whole[last] + own[i] - own[last];
      stage.ms = whole[i] ?? (further === null ? null : Math.max(further, 0.01));
    });
  }

  async load(signal) {
    const { name, stages } = this.about;
    return loadOf((await this.#ask("v1/load", { signal })).models[name], stages.length);
  }

  async burst(body) {
    return this.#ask("v1/demo/burst", { method: "POST", ...json(body) });
  }

  async steal(body) {
    return this.#ask("v1/demo/steal", { method: "POST", ...json(body) });
  }

  close() {}

  async #ask(path, options) {
    return (await this.#fetch(path, options)).json();
  }

  async #fetch(path, { headers = {}, ...options } = {}) {
    const key = this.#key ? { authorization: `Bearer ${this.#key}` } : {};
    const response = await fetch(path, { ...options, headers: { ...headers, ...key } });
    if (response.ok) return response;
    const said = await response.json().catch(() => ({}));
    throw new Refusal({ error: `The server answered ${response.status}`, ...said }, response.status);
  }
}

/** What a server says instead of an answer: `reason` is a code, `retryAfterS` when to come again. */
export class Refusal extends Error {
  constructor({ error, reason, retry_after_s: retryAfterS }, status = null) {
    super(error);
    Object.assign(this, { reason, retryAfterS, status });
  }
}

const json = (body) => ({ body: JSON.stringify(body), headers: { "content-type": "application/json" } });

function described(about, all) {
  return {
    name: about.name,
    models: all.models.map(({ name }) => name),
    classNames: about.class_names,
    input: about.input,
    demo: Boolean(about.demo),
    samples: Boolean(about.samples),
    fullMs: (about.stages.at(-1).latency_ms?.median_ms ?? 10) / (about.threads ?? 1),
    stages: about.stages.map((stage) => ({
      macs: stage.macs,
      accuracy: [stage.val_accuracy].flat()[0] ?? null,
      ms: stage.latency_ms?.median_ms ?? null,
    })),
  };
}

/** Counts since the server began. */
function loadOf({ stages, outcomes, queue, slowdown }, count) {
  const byStage = Array.from({ length: count }, (_, i) => stages[i + 1] ?? 0);
  return { byStage, late: outcomes.late ?? 0, refused: (outcomes.overload ?? 0) + (outcomes.expired ?? 0), queue, slowdown };
}

function answerOf(data, final) {
  return {
    stage: data.stage,
    stages: data.stages,
    label: data.label,
    labels: data.labels,
    level: data.level,
    probability: data.probability,
    probabilities: new Map(data.probabilities.map((one) => [one.index, one.probability])), // of that level
    elapsedMs: data.elapsed_ms ?? data.timings.total_ms,
    late: data.late,
    final,
  };
}
