// Shows the answers of one run: at once, in slow motion along their own times, or one after the other.
// A run lasts milliseconds, too short to see; slow motion keeps their proportions.

const WHOLE_MS = 2600; // how long slow motion takes for the whole range of the slider
const MOST_MS = 250; // of it in one frame

export class Playback {
  /** `show(answer, {atMs, playing, index})` draws; `rangeMs()` is the time that the slider spans. */
  constructor(show, rangeMs) {
    this.answers = [];
    this.index = -1;
    this.playing = false;
    this.#show = show;
    this.#rangeMs = rangeMs;
  }
  #show;
  #rangeMs;
  #frame = 0;
  #ended = false;
  #slow = false;
  #atMs = 0;

  /** Forgets the run before. What is on screen stays until the new run says something. */
  begin({ slow }) {
    this.#stop();
    this.answers = [];
    this.index = -1;
    this.#ended = false;
    this.#atMs = 0;
    this.#slow = slow && !calm();
    if (this.#slow) this.#play();
  }

  /** Another model: its stages are others. */
  forget() {
    this.begin({ slow: false });
  }

  /** One more answer of the run; the last has `final`. */
  add(answer) {
    if (answer.final) {
      this.#ended = true;
      const known = this.answers.findIndex((one) => one.stage === answer.stage);
      if (known < 0) this.answers.push(answer);
      else {
        const { elapsedMs, late } = this.answers[known]; // a stage may be in time and its answer told too late
        this.answers[known] = { ...this.answers[known], late: answer.late, final: true, elapsedMs: answer.late && !late ? answer.elapsedMs : elapsedMs };
      }
      this.standing = answer;
    } else this.answers.push(answer);
    if (!this.#slow) this.#soon();
  }

  /** The run broke off: what was answered stays. */
  end() {
    this.#ended = true;
    if (!this.playing) this.#draw();
  }

  toggle() {
    if (!this.answers.length) return;
    if (this.playing) {
      this.#stop();
      this.#draw();
      return;
    }
    if (this.#ended && this.index >= this.#last()) {
      this.#atMs = 0;
      this.index = -1;
    }
    this.#slow = true;
    this.#play();
  }

  step(by) {
    this.showAt(Math.max(0, Math.min(this.answers.length - 1, this.index + by)));
  }

  showAt(index) {
    if (!this.answers[index]) return;
    this.#stop();
    this.#slow = false;
    this.index = index;
    this.#atMs = this.answers[index].elapsedMs;
    this.#draw();
  }

  #play() {
    this.playing = true;
    let before = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      const known = this.answers.length ? this.answers.at(-1).elapsedMs : 0;
      const passed = Math.min(now - before, MOST_MS); // a stalled screen skips no stage
      const next = this.#atMs + (passed * this.#rangeMs()) / WHOLE_MS;
      before = now;
      this.#atMs = Math.min(next, known); // never ahead of what the source has said
      while (this.index + 1 < this.answers.length && this.answers[this.index + 1].elapsedMs <= this.#atMs)
        this.index += 1;
      if (this.#ended && this.index >= this.answers.length - 1) {
        this.#stop();
        this.index = this.#last();
      } else this.#frame = requestAnimationFrame(tick);
      this.#draw();
    };
    this.#frame = requestAnimationFrame(tick);
  }

  /** The place of the answer that stands at the end: the best validated stage, mostly the last. */
  #last() {
    const place = this.answers.findIndex((one) => one.final);
    return place >= 0 ? place : this.answers.length - 1;
  }

  #stop() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.playing = false;
  }

  /** Several answers that come within one frame are drawn once. */
  #soon() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.index = this.#last();
      this.#atMs = this.answers[this.index]?.elapsedMs ?? 0;
      this.#draw();
    });
  }

  #draw() {
    this.#show(this.answers[this.index] ?? null, { atMs: this.#atMs, playing: this.playing, index: this.index });
  }
}

/** Who asked for less motion sees the answer at once, and slow motion only where they press for it. */
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
