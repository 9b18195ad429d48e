// The HTTP contract of `anytimenet serve` without a net: answers follow from the colour of a picture, times
// from a table. It is here for what a real server cannot be made to do on demand: dying mid-stream, refusing,
// taking long; page_real.test.mjs runs the same page against the real one.
import { join } from "node:path";
import { CSP, PAGE, listening, png, sendFile } from "./harness.mjs";

const CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const COARSE = ["vehicle", "animal"];
const coarseOf = (index) => ([0, 1, 8, 9].includes(index) ? 0 : 1);

/** Starts one: {url, close, asked, settings}; change `settings` at any time. */
export async function fakeServer(options = {}) {
  const settings = {
    stageMs: [0.9, 1.6, 2.4, 3.9, 6.3],
    accuracies: [0.476, 0.592, 0.703, 0.792, 0.832],
    slower: 1, // what every stage takes, times this
    toldAfterMs: 0, // between the last stage and the answer
    waitMs: 0, // real time between two events
    dieAfter: null, // stages, then the connection breaks
    refuse: null, // {status, body} instead of an answer
    key: null,
    demo: true,
    ...options,
  };
  const asked = []; // {deadlineMs, bytes, cancelled}
  const load = { by_stage: settings.stageMs.map(() => 0), late: 0 };
  const demo = [];

  const listener = async (request, response) => {
    const url = new URL(request.url, "http://x");
    const json = (body, status = 200) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    response.setHeader("content-security-policy", CSP);
    if (url.pathname.startsWith("/v1/") && settings.key && request.headers.authorization !== `Bearer ${settings.key}`)
      return json({ error: "a key is needed", reason: "unauthorised" }, 401);
    if (url.pathname === "/v1/model") return json(model(settings));
    if (url.pathname === "/v1/models") return json({ models: [model(settings)] });
    if (url.pathname === "/v1/load")
      return json({ models: { photographs: loadRecord(load, settings) } });
    if (url.pathname.startsWith("/v1/demo/")) {
      demo.push({ what: url.pathname.split("/").at(-1), ...JSON.parse(await bodyOf(request)) });
      settings.slower = 3;
      setTimeout(() => (settings.slower = 1), 3000);
      return json({});
    }
    if (url.pathname === "/v1/predict") return predict(request, response, url, json);
    if (url.pathname === "/samples/samples.json") return json({ samples: SAMPLES.map(({ file, label }) => ({ file, label })) });
    const sample = SAMPLES.find(({ file }) => url.pathname === `/samples/${file}`);
    if (sample) return response.writeHead(200, { "content-type": "image/png" }).end(sample.bytes);
    return sendFile(response, join(PAGE, url.pathname === "/" ? "index.html" : url.pathname));
  };

  async function predict(request, response, url, json) {
    const body = await bodyOf(request);
    const record = { deadlineMs: Number(url.searchParams.get("deadline_ms")), bytes: body.length, cancelled: false };
    asked.push(record);
    if (settings.refuse) return json(settings.refuse.body, settings.refuse.status);
    response.on("close", () => (record.cancelled = !response.writableFinished));
    response.writeHead(200, { "content-type": "text/event-stream" });
    const truth = body.length % CLASSES.length;
    const ms = settings.stageMs.map((one) => one * settings.slower);
    const done = Math.max(1, ms.filter((one) => one <= record.deadlineMs).length);
    const fields = (stage) => answer(stage, ms, truth, record.deadlineMs, false);
    for (let stage = 1; stage <= done; stage += 1) {
      if (settings.waitMs) await new Promise((next) => setTimeout(next, settings.waitMs));
      if (settings.dieAfter !== null && stage > settings.dieAfter) return response.destroy();
      response.write(`event: stage\ndata: ${JSON.stringify(fields(stage))}\n\n`);
    }
    load.by_stage[done - 1] += 1;
    load.late += ms[done - 1] > record.deadlineMs ? 1 : 0;
    const late = ms.map((one) => one + settings.toldAfterMs);
    return response.end(`event: answer\ndata: ${JSON.stringify(answer(done, late, truth, record.deadlineMs, true))}\n\n`);
  }

  return { ...(await listening(listener)), asked, demo, settings };
}

function answer(stage, ms, truth, deadlineMs, final) {
  const other = (truth + 3) % CLASSES.length;
  const scores = CLASSES.map((_, i) => (i === truth ? 0.9 * stage : i === other ? 1.6 : ((i * 7) % 5) * 0.2));
  const sum = scores.reduce((total, one) => total + Math.exp(one), 0);
  const shares = scores.map((one) => Math.exp(one) / sum);
  const sums = COARSE.map((_, i) => shares.reduce((sum, one, at) => sum + (coarseOf(at) === i ? one : 0), 0));
  const best = shares.indexOf(Math.max(...shares));
  const labels = [CLASSES[best], COARSE[coarseOf(best)]];
  const level = stage === 1 ? 2 : 1;
  const [names, found] = level === 2 ? [COARSE, sums] : [CLASSES, shares];
  const times = final
    ? { timings: { queued_ms: 0.1, run_ms: ms[stage - 1] - 0.1, total_ms: ms[stage - 1] } }
    : { elapsed_ms: ms[stage - 1] };
  return {
    model: "photographs",
    label: labels[level - 1],
    labels,
    level,
    stage,
    stages: ms.length,
    probability: Math.max(...found),
    probabilities: found.map((probability, index) => ({ label: names[index], index, probability })),
    late: ms[stage - 1] > deadlineMs,
    ...times,
    request_id: "test",
  };
}

function model(settings) {
  return {
    name: "photographs",
    class_names: [CLASSES, COARSE],
    levels: 2,
    input: { height: 112, width: 112, channels: 3 },
    demo: settings.demo,
    samples: true,
    stages: settings.stageMs.map((ms, i) => ({
      macs: 1e6 * (i + 1),
      val_accuracy: [settings.accuracies[i], 0.97],
      latency_ms: { median_ms: ms, p95_ms: 1.2 * ms, p99_ms: 1.3 * ms },
    })),
  };
}

function loadRecord({ by_stage: byStage, late }, { slower }) {
  const answered = byStage.reduce((sum, count) => sum + count, 0);
  return {
    queue: 0,
    running: 0,
    slowdown: slower,
    outcomes: { answered: answered - late, late },
    stages: Object.fromEntries(byStage.map((count, i) => [String(i + 1), count])),
  };
}

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

const SAMPLES = [3, 8, 5, 0].map((truth, i) => {
  const bytes = png(64, 64, (x, y) => [40 + 50 * i, 60 + 2 * y, 60 + 2 * x]);
  return { file: `${i}.png`, label: CLASSES[truth], bytes };
});
