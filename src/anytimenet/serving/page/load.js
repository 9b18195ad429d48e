// The server under load: which stages answer lately, how many come late, how many answers are of use.
import { percent } from "./format.js";

const WINDOW = 6; // seconds that the numbers look back

export class LoadView {
  #history = [];
  #timer = 0;

  constructor({ numbers, histogram, caption }) {
    Object.assign(this, { numbers, histogram, caption });
  }

  /** Asks `source` every second while the page is seen. */
  begin(source) {
    this.stop();
    this.#history = [];
    const ask = async () => {
      if (document.visibilityState === "visible") {
        try {
          this.add(await source.load(), performance.now());
        } catch {
          this.caption.textContent = "The server does not say how it fares.";
        }
      }
      this.#timer = setTimeout(ask, 1000);
    };
    ask();
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /** Counts only grow: what happened lately is the difference. */
  add(now, atMs) {
    if (this.#history.length && total(now) < total(this.#history.at(-1).load)) this.#history = [];
    this.#history.push({ load: now, atMs });
    while (this.#history.length > 2 && atMs - this.#history[1].atMs > 1000 * WINDOW) this.#history.shift();
    this.#draw(lately(this.#history), now);
  }

  #draw({ byStage, answered, late, refused, seconds }, now) {
    const asked = answered + refused;
    const told = [
      ["in time a second", seconds ? ((answered - late) / seconds).toFixed(0) : "–"],
      ["late or refused", asked ? percent((late + refused) / asked, 1) : "–"],
      ["waiting", String(now.queue ?? 0)],
      ["slowdown", now.slowdown == null ? "–" : `${now.slowdown.toFixed(1)}×`],
    ];
    this.numbers.replaceChildren(
      ...told.map(([name, value]) => {
        const item = document.createElement("li");
        const [strong, small] = [document.createElement("strong"), document.createElement("span")];
        strong.textContent = value;
        small.textContent = name;
        item.append(strong, small);
        return item;
      }),
    );
    if (this.histogram.children.length !== byStage.length)
      this.histogram.replaceChildren(...byStage.map((_, i) => column(i + 1)));
    byStage.forEach((count, i) => {
      const [share, bar] = this.histogram.children[i].children;
      bar.firstChild.style.transform = `scaleY(${answered ? count / answered : 0})`;
      share.textContent = answered ? percent(count / answered) : "";
    });
    this.histogram.setAttribute(
      "aria-label",
      `Answers of the last seconds by stage: ${byStage.map((count, i) => `stage ${i + 1} ${count}`).join(", ")}`,
    );
    this.caption.textContent = asked
      ? `Which stage answered, of ${asked} requests in the last ${Math.round(seconds)} seconds.`
      : "No requests in the last seconds.";
  }
}

/** Counts between the first and the last of some moments. */
export function lately(history) {
  const [first, last] = [history[0].load, history.at(-1).load];
  const byStage = last.byStage.map((count, i) => count - (first.byStage[i] ?? 0));
  return {
    byStage,
    answered: byStage.reduce((sum, count) => sum + count, 0),
    late: last.late - first.late,
    refused: (last.refused ?? 0) - (first.refused ?? 0),
    seconds: (history.at(-1).atMs - history[0].atMs) / 1000,
  };
}

const total = (load) => load.byStage.reduce((sum, count) => sum + count, 0);

function column(stage) {
  const item = document.createElement("div");
  const [share, bar, fill, name] = ["span", "span", "span", "span"].map((tag) => document.createElement(tag));
  share.className = "share";
  bar.className = "bar";
  fill.className = "fill";
  name.className = "name";
  name.textContent = `stage ${stage}`;
  bar.append(fill);
  item.append(share, bar, name);
  return item;
}
