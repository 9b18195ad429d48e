// Accuracy over the milliseconds of this machine: where the deadline stands, and what a little more would buy.
import { ms } from "./format.js";

/** How many stages are done `atMs`, by their expected times. */
export function stagesBy(stages, atMs) {
  return stages.filter((stage) => stage.ms != null && stage.ms <= atMs).length;
}

/** What one more millisecond would buy, in words; `slower`: this run did less by its deadline than stages usually do. */
export function oneMore(stages, deadlineMs, slower = false) {
  if (stages.some((stage) => stage.ms == null)) return "";
  const [now, then] = [stagesBy(stages, deadlineMs), stagesBy(stages, deadlineMs + 1)];
  if (now === stages.length)
    return slower
      ? `Usually every stage is done after ${ms(stages.at(-1).ms)}; this time the machine was busy`
      : "Every stage fits; drag left for less time";
  if (then > now) {
    const gain = gained(stages, now, then);
    return now === 0
      ? `One more millisecond buys an answer in time, of stage ${then}`
      : `One more millisecond buys stage ${then}${gain}`;
  }
  const next = stages[now];
  return `Stage ${now + 1} needs ${ms(next.ms - deadlineMs)} more${gained(stages, now, now + 1)}`;
}

/** By validated accuracy the best of the first stages answers, not the latest. */
function gained(stages, now, then) {
  const best = (count) => Math.max(...stages.slice(0, count).map((stage) => stage.accuracy ?? Number.NaN));
  const points = now > 0 ? 100 * (best(then) - best(now)) : Number.NaN;
  if (!Number.isFinite(points)) return "";
  return points < 0.05 ? ", which is no more accurate" : `: ${points.toFixed(1)} points more accurate`;
}

export class Curve {
  #plot = null;
  #deadlineMs = 0;
  #stage = 0;

  constructor(host, caption) {
    Object.assign(this, { host, caption });
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build());
  }

  /** A curve needs validated accuracies and measured times; without them the caption says what is missing. */
  begin(stages, rangeMs) {
    Object.assign(this, { stages, rangeMs });
    this.#build();
  }

  show(deadlineMs, stage) {
    this.#deadlineMs = deadlineMs;
    this.#stage = stage;
    this.#plot?.redraw(false);
  }

  #size() {
    return { width: Math.max(200, this.host.clientWidth), height: 230 };
  }

  #build() {
    this.#plot?.destroy();
    this.#plot = null;
    const stages = (this.stages ?? []).filter((stage) => stage.ms != null && stage.accuracy != null);
    this.host.hidden = stages.length === 0;
    if (!this.stages) return;
    if (!stages.length) {
      this.caption.textContent = this.stages.some((stage) => stage.accuracy != null)
        ? "It is drawn when the stages have been measured here."
        : "No validated accuracies are known of this net.";
      return;
    }
    const accuracies = stages.map((stage) => `${(100 * stage.accuracy).toFixed(1)} % at ${ms(stage.ms)}`);
    this.host.setAttribute("aria-label", `Validated accuracy by stage: ${accuracies.join(", ")}`);
    this.caption.textContent = "Validated accuracy of the stages, where each is done. The line is your deadline.";
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(name).trim();
    const ink = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const font = `12px ${css.fontFamily}`;
    const y = stages.map((stage) => 100 * stage.accuracy);
    const low = Math.min(...y);
    const high = Math.max(...y);
    const margin = Math.max(2, 0.15 * (high - low));
    this.#plot = new uPlot(
      {
        ...this.#size(),
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: false, range: [0, this.rangeMs] }, y: { range: [low - margin, Math.min(100.5, high + margin)] } },
        axes: [
          { ...ink, font, values: (_, values) => values.map((value) => `${value} ms`), space: 70, size: 32 },
          { ...ink, font, values: (_, values) => values.map((value) => `${value} %`), size: 52 },
        ],
        series: [
          {},
          {
            stroke: colour("--accent"),
            width: 2,
            paths: uPlot.paths.stepped({ align: 1 }),
            points: { show: true, size: 9, fill: colour("--card"), stroke: colour("--accent"), width: 2, filter: this.#stagesOnly },
          },
        ],
        hooks: { drawClear: [(plot) => this.#under(plot, colour)], draw: [(plot) => this.#over(plot, colour)] },
      },
      [[...stages.map((stage) => stage.ms), this.rangeMs], [...y, y.at(-1)]],
      this.host,
    );
  }

  /** The last of the points only carries the line to the edge. */
  #stagesOnly = (plot) => plot.data[0].map((_, i) => i).slice(0, -1);

  #under(plot, colour) {
    const { ctx, bbox } = plot;
    const [left, right] = [0, 1].map((more) => this.#x(plot, this.#deadlineMs + more));
    ctx.save();
    ctx.fillStyle = colour("--tint");
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    ctx.restore();
  }

  #over(plot, colour) {
    const { ctx, bbox } = plot;
    const dot = devicePixelRatio;
    const x = this.#x(plot, this.#deadlineMs);
    ctx.save();
    ctx.strokeStyle = colour("--ink");
    ctx.lineWidth = 1.5 * dot;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const at = this.stages[this.#stage - 1];
    if (at?.ms != null && at.accuracy != null) {
      ctx.fillStyle = colour("--accent");
      ctx.beginPath();
      ctx.arc(this.#x(plot, at.ms), plot.valToPos(100 * at.accuracy, "y", true), 7 * dot, 0, 2 * Math.PI);
      ctx.fill();
    }
    ctx.restore();
  }

  #x(plot, value) {
    const { left, width } = plot.bbox;
    return Math.max(left, Math.min(left + width, plot.valToPos(value, "x", true)));
  }
}
