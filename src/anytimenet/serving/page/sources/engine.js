// Answers of the engine in this browser, in the interface of sources/server.js. Loaded only by a static site,
// which has the engine beside it.
import { open } from "../engine/anytimenet.js";

export class Engine {
  kind = "browser";
  #net;
  #ms;

  /** Resolves once the first stage can answer; the others go on arriving. */
  static async open(url, { throttle, onStage, onBytes, signal } = {}) {
    const engine = new Engine();
    engine.#net = await open(url, { throttle, onStage, onBytes, signal });
    const { model } = engine.#net;
    engine.about = {
      name: model.name,
      models: [model.name],
      classNames: model.classNames,
      input: model.input,
      demo: false,
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

  async *answers(picture, { deadlineMs, signal }) {
    for await (const answer of this.#net.run(picture.pixels(), { deadlineMs, signal })) {
      const shares = answer.probabilities[answer.level - 1];
      yield {
        ...answer,
        probability: Math.max(...shares),
        probabilities: new Map(Array.from(shares, (share, index) => [index, share])),
      };
    }
  }

  /** Measures this browser; cumulative milliseconds of each stage that is here are then in `about`. */
  async measure(seconds = 0.5) {
    const { stepMs } = await this.#net.profile({ seconds });
    let sum = 0;
    stepMs.forEach((ms, i) => {
      sum += ms;
      this.about.stages[i].ms = sum;
    });
    return this.about.stages;
  }

  close() {
    this.#net.close();
  }
}
