// How the weights of a static site arrive: one segment a shard, and a control for slower connections.
import { bytes } from "./format.js";

/** Bytes a second; the slower ones are those that page audits call slow 4G and slow 3G. */
export const CONNECTIONS = {
  full: { name: "as it is", throttle: 0 },
  "4g": { name: "slow 4G, 1.6 Mbit/s", throttle: 200_000 },
  "3g": { name: "slow 3G, 400 kbit/s", throttle: 50_000 },
};

export class DownloadView {
  constructor({ panel, shards, caption, throttle, again }, onAgain) {
    Object.assign(this, { panel, shards, caption, throttle });
    throttle.replaceChildren(
      ...Object.entries(CONNECTIONS).map(([value, { name }]) => new Option(name, value)),
    );
    throttle.addEventListener("change", () => onAgain(throttle.value));
    again.addEventListener("click", () => onAgain(throttle.value));
  }

  begin(connection) {
    this.panel.hidden = false;
    this.throttle.value = connection;
    this.startedAt = performance.now();
    this.firstMs = null;
    this.progress = null;
    this.caption.classList.remove("failed");
    this.caption.textContent = "The first part is on its way; it is enough to answer.";
  }

  /** Bytes of the shards, once they are known. */
  sizes(stages) {
    this.stages = stages;
    this.shards.replaceChildren(
      ...stages.map((stage, i) => {
        const shard = document.createElement("div");
        const [fill, name] = [document.createElement("span"), document.createElement("span")];
        shard.style.flexGrow = String(Math.max(stage.bytes ?? 1, 1) ** 0.5); // widths that can all be seen
        fill.className = "fill";
        name.className = "name";
        name.textContent = `${i + 1}`;
        shard.title = `stage ${i + 1}: ${bytes(stage.bytes ?? 0)}`;
        shard.append(fill, name);
        return shard;
      }),
    );
    this.#draw();
  }

  bytes(done, all) {
    this.progress = { done, all };
    this.#draw();
  }

  ready(count, of) {
    this.count = count;
    this.firstMs ??= performance.now() - this.startedAt;
    const first = `First answer possible after ${(this.firstMs / 1000).toFixed(1)} s`;
    this.caption.textContent =
      count < of
        ? `${first}. Stage ${count} of ${of} is here; the picture is asked again with each that arrives.`
        : `${first}, all ${of} stages after ${((performance.now() - this.startedAt) / 1000).toFixed(1)} s.`;
    this.#draw();
  }

  failed(error, ready) {
    this.caption.classList.add("failed");
    this.caption.textContent =
      ready > 0
        ? `A part did not arrive: ${error.message}. Stages 1 to ${ready} go on answering.`
        : `The net did not arrive: ${error.message}.`;
  }

  #draw() {
    if (!this.stages) return;
    let before = 0;
    this.stages.forEach((stage, i) => {
      const shard = this.shards.children[i];
      const size = Math.max(stage.bytes ?? 1, 1);
      const here = i < (this.count ?? 0);
      const share = here ? 1 : Math.min(0.98, Math.max(0, ((this.progress?.done ?? 0) - before) / size));
      shard.firstChild.style.transform = `scaleX(${share})`;
      shard.classList.toggle("here", here);
      before += size;
    });
  }
}
