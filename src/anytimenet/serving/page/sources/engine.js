// Answers of the engine in this browser, in the interface of sources/server.js. Loaded only by a static site,
// which has the engine beside it.
import { open } from "../engine/anytimenet.js";

const MEASURED_RUNS = 3;

export class Engine {
  kind = "browser";
  #net;

  /** `throttle`: bytes a second. Resolves once the first stage can answer; the others go on arriving. */
  static async open(url, { throttle, onStage, onBytes, signal } = {}) {
    const engine = new Engine();
    engine.#net = await open(url, { throttle, onStage, onBytes, signal });
    const { model } = engine.#net;
    const { title } = await (await fetch("site.json", { signal })).json();
    engine.about = {
      name: title,
      models: [title],
      classNames: model.classNames,
      input: model.input,
      demo: false,
      samples: true,
      stages: model.stages.map((stage) => ({
        macs: stage.macs,
        bytes: stage.bytes,
        accuracy: [stage.valAccuracy].flat()[0] ?? null,
        ms: null,
      })),
    };
    return engine;
  }

  get ready() {
    return this.#net.ready;
  }

  /** Why nothing more arrives, or null. */
  get failed() {
    return this.#net.failed ?? null;
  }

  /** Resolves when nothing more will arrive, for whatever reason. */
  get loaded() {
    return this.#net.loaded;
  }

  async *answers(picture, { deadlineMs, signal }) {
    for await (const answer of this.#net.run(picture.bitmap, { deadlineMs, signal })) {
      const shares = answer.probabilities[answer.level - 1];
      yield {
        ...answer,
        probability: Math.max(...shares),
        probabilities: new Map(Array.from(shares, (share, index) => [index, share])),
      };
    }
  }

  /** Before all of it is here: what the first run took, and by multiply-adds what further stages will take. */
  estimate(answers) {
    const { stages } = this.about;
    for (const { stage, elapsedMs } of answers)
      stages[stage - 1].ms = Math.min(elapsedMs, stages[stage - 1].ms ?? Number.POSITIVE_INFINITY);
    const known = stages.findLast((stage, i) => i < answers.length && stage.ms !== null);
    stages.forEach((stage) => {
      if (known && stage.macs > known.macs) stage.ms = (known.ms * stage.macs) / known.macs;
    });
  }

  /** Steps are measured in batches, for clocks of browsers tick coarsely; what comes on top, in whole runs. */
  async measure(picture) {
    const { stepMs } = await this.#net.profile({ seconds: 0.5 });
    const whole = [];
    for (let run = 0; run < MEASURED_RUNS; run += 1)
      for await (const { elapsedMs, final } of this.answers(picture, {})) if (final) whole.push(elapsedMs);
    const full = stepMs.reduce((sum, ms) => sum + ms, 0);
    let sum = Math.max(0, whole.sort((a, b) => a - b)[MEASURED_RUNS >> 1] - full);
    stepMs.forEach((ms, i) => {
      sum += ms;
      this.about.stages[i].ms = sum;
    });
  }

  close() {
    this.#net.close();
  }
}
