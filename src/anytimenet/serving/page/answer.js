// The answer in words, and the bars. A class keeps its row while the answer sharpens: nothing is sorted again.
import { ms, percent } from "./format.js";

const ALL_ROWS = 12; // up to so many classes every class has a row
const MOST_ROWS = 8; // of more, those that were ever among the first three of a stage

export class AnswerView {
  constructor({ status, label, detail, bars }) {
    Object.assign(this, { status, label, detail, bars });
    this.levels = []; // a picture may be here before the model
  }

  /** Starts with no probabilities, for a model with these classes of each label level. */
  begin(classNames) {
    this.levels = classNames.map((names) => new Rows(names));
    this.bars.replaceChildren(...(this.levels[0]?.items ?? []));
  }

  /** A new picture: classes may enter in another order. */
  newPicture() {
    this.levels.forEach((rows) => rows.newPicture());
  }

  /** Rows for whatever these answers say, so that the order is settled before they are shown. */
  prepare(answers) {
    for (const { level, probabilities } of answers) this.levels[level - 1].prepare(probabilities);
  }

  show(answer, { playing, deadlineMs, truth }) {
    const time = ms(answer.elapsedMs);
    const where = `Stage ${answer.stage} of ${answer.stages}`;
    this.status.classList.toggle("late", answer.late && !playing);
    this.status.textContent = playing
      ? `${where}, at ${time} …`
      : answer.late
        ? `${where}, after ${time}: late, for ${answer.stage === 1 ? "even the first stage" : "it"} took longer than ${ms(deadlineMs)}`
        : `${where}, after ${time}`;
    if (this.label.textContent !== answer.label) this.label.textContent = answer.label;
    this.detail.textContent = this.#told(answer, truth);
    const rows = this.levels[answer.level - 1];
    rows.show(answer.probabilities, answer.label);
    if (this.bars.firstChild !== rows.items[0] || this.bars.children.length !== rows.items.length)
      this.bars.replaceChildren(...rows.items);
  }

  nothing(words) {
    this.status.classList.remove("late");
    this.status.textContent = words;
    this.label.textContent = "\u00a0";
    this.detail.textContent = "\u00a0";
    this.levels.forEach((rows) => rows.show(new Map(), null));
  }

  #told(answer, truth) {
    const sure = `${percent(answer.probability)} sure`;
    const levels = answer.labels;
    const words =
      answer.level > 1
        ? `${sure}; too early to say which, perhaps ${levels[0]}`
        : levels.length > 1
          ? `${sure}; ${[...levels].reverse().join(" › ")}`
          : sure;
    if (!truth) return words;
    const right = truth === levels[answer.level - 1] || (answer.level === 1 && truth === answer.label);
    return `${words}. The sample is: ${truth}${right ? " ✓" : ""}`;
  }
}

/** The bars of one label level. */
class Rows {
  #rows = new Map(); // by the index of the class

  constructor(names) {
    this.names = names;
    if (this.#all) names.forEach((_, index) => this.#add(index));
  }

  get items() {
    return [...this.#rows.values()].map((row) => row.item);
  }

  newPicture() {
    if (!this.#all) this.#rows.clear();
  }

  prepare(probabilities) {
    if (this.#all) return;
    const first = [...probabilities].sort((a, b) => b[1] - a[1]).slice(0, 3);
    for (const [index] of first) if (this.#rows.size < MOST_ROWS && !this.#rows.has(index)) this.#add(index);
  }

  /** Shares by the index of the class; without one a bar is empty. */
  show(probabilities, label) {
    for (const [index, { item, fill, value }] of this.#rows) {
      const share = probabilities.get(index);
      fill.style.transform = `scaleX(${share ?? 0})`;
      value.textContent = share === undefined ? "" : percent(share);
      item.classList.toggle("best", this.names[index] === label);
    }
  }

  get #all() {
    return this.names.length <= ALL_ROWS;
  }

  #add(index) {
    const item = document.createElement("li");
    const [name, bar, fill, value] = ["span", "span", "span", "span"].map((tag) => document.createElement(tag));
    name.className = "name";
    name.textContent = this.names[index];
    bar.className = "bar";
    fill.className = "fill";
    fill.style.transform = "scaleX(0)";
    value.className = "value";
    bar.append(fill);
    item.append(name, bar, value);
    this.#rows.set(index, { item, fill, value });
  }
}
