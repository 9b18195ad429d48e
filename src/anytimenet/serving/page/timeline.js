// The slider of the deadline, and on the same axis when each stage answered; below, what each of them said.
import { ms, percent, roundUp } from "./format.js";

const CLOSE = 13; // pixels between two numbers that can both be read

export class Timeline {
  /** `onDeadline(ms)` while the slider moves; `onStage(stage)` when a stage is pressed. */
  constructor({ slider, value, dots, used, steps }, { onDeadline, onStage }) {
    Object.assign(this, { slider, value, dots, used, steps, onStage });
    this.expected = [];
    this.rangeMs = 10;
    slider.addEventListener("input", () => {
      this.#told();
      onDeadline(this.deadlineMs);
    });
  }

  get deadlineMs() {
    return Number(this.slider.value);
  }

  /** The times that stages are expected to answer at set the range; null where nothing was measured yet. */
  begin(stages, deadlineMs) {
    this.expected = stages.map((stage) => stage.ms);
    const known = this.expected.filter((one) => one != null);
    this.rangeMs = roundUp(1.5 * Math.max(...known, 0.2));
    this.slider.max = this.rangeMs;
    this.slider.step = this.rangeMs / 400;
    this.slider.value = Math.min(deadlineMs ?? this.rangeMs, this.rangeMs);
    this.slider.disabled = known.length === 0;
    this.#told();
    this.dots.replaceChildren(...stages.map((_, i) => this.#dot(i + 1)));
    this.steps.replaceChildren(...stages.map((_, i) => this.#step(i + 1)));
    this.show([], null, { atMs: 0, playing: false });
  }

  /** What was answered so far; `shown` is the answer on screen. */
  show(answers, shown, { atMs, playing }) {
    this.used.style.transform = `scaleX(${Math.min(1, atMs / this.rangeMs)})`;
    const times = this.#times(answers);
    [...this.steps.children].forEach((item, i) => {
      const answer = answers.find((one) => one.stage === i + 1);
      const reached = Boolean(answer) && (!playing || answer.elapsedMs <= atMs);
      const at = times[i];
      const dot = this.dots.children[i];
      dot.hidden = at == null || at > this.rangeMs;
      dot.style.setProperty("--at", String(at / this.rangeMs));
      dot.classList.toggle("reached", reached);
      dot.classList.toggle("shown", shown?.stage === i + 1);
      const button = item.firstChild;
      button.disabled = !reached;
      item.classList.toggle("reached", reached);
      if (shown?.stage === i + 1) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
      const [, label, note] = button.children;
      label.textContent = reached ? answer.label : "–";
      note.textContent = reached ? `${percent(answer.probability)} · ${ms(at)}` : at == null ? "" : `≈ ${ms(at)}`;
    });
    this.#name(times.map((at) => at / this.rangeMs));
  }

  /** When each stage answered or is expected to: a run that is late so far goes on being late. */
  #times(answers) {
    let behind = 0;
    return this.expected.map((expected, i) => {
      const answer = answers.find((one) => one.stage === i + 1);
      if (answer && expected != null) behind = Math.max(0, answer.elapsedMs - expected);
      return answer?.elapsedMs ?? (expected == null ? null : expected + behind);
    });
  }

  /** Numbers of stages that lie too close together for two are written as one: 1–3. */
  #name(places) {
    const width = this.dots.clientWidth || 1000;
    const dots = [...this.dots.children];
    const seen = dots.map((_, i) => i).filter((i) => !dots[i].hidden).sort((a, b) => places[a] - places[b]);
    const groups = [];
    for (const i of seen) {
      const before = groups.at(-1);
      if (before && (places[i] - places[before.at(-1)]) * width < CLOSE) before.push(i);
      else groups.push([i]);
    }
    for (const group of groups) {
      const middle = group[(group.length - 1) >> 1];
      const stages = group.map((i) => i + 1).sort((a, b) => a - b);
      for (const i of group) dots[i].textContent = i !== middle ? "" : stages.length > 1 ? `${stages[0]}–${stages.at(-1)}` : `${i + 1}`;
    }
  }

  set(deadlineMs) {
    this.slider.value = deadlineMs;
    this.#told();
  }

  #told() {
    this.value.textContent = this.slider.disabled ? "none yet" : ms(this.deadlineMs);
    this.slider.setAttribute("aria-valuetext", ms(this.deadlineMs));
  }

  #dot(stage) {
    const dot = document.createElement("li");
    dot.textContent = stage;
    return dot;
  }

  #step(stage) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    const parts = ["count", "says", "note"].map((name) => {
      const part = document.createElement("span");
      part.className = name;
      return part;
    });
    parts[0].textContent = `stage ${stage}`;
    button.append(...parts);
    button.addEventListener("click", () => this.onStage(stage));
    item.append(button);
    return item;
  }
}
