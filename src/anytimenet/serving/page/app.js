// The page: one picture, one deadline, and the answers of a source. Everything else is drawn from these three.
import { fromAddress, intoAddress } from "./address.js";
import { AnswerView } from "./answer.js";
import { Curve, oneMore } from "./curve.js";
import { CONNECTIONS, DownloadView } from "./download.js";
import { LoadView } from "./load.js";
import { camera, listen, Picture } from "./picture.js";
import { Playback } from "./playback.js";
import { listed, mark, show } from "./samples.js";
import { SnippetView, snippets } from "./snippets.js";
import { Timeline } from "./timeline.js";

const at = (id) => document.getElementById(id);
const address = fromAddress();
const NO_NET = "The net did not arrive";

let source = null;
let picture = null;
let key = null; // only here, in memory
let taking = null; // what the last picture is known by until it is decoded
let stopCamera = () => {};
let asking = null; // the AbortController of the request that runs
let opening = null; // and of the source that is being opened
let lost = false; // whether the net of a static site did not arrive
let offered = false; // whether samples were asked for
let measured = null; // the source whose times are those of this machine
let measuring = null; // {source, done}: the measurement that runs
let wantedStage = Number(address.stage) || null;

const answerView = new AnswerView({ status: at("status"), label: at("label"), detail: at("detail"), bars: at("bars") });
const curve = new Curve(at("curve"), at("curve-caption"));
const loadView = new LoadView({ numbers: at("numbers"), histogram: at("histogram"), caption: at("load-caption") });
const snippetView = new SnippetView({
  tabs: [at("tab-curl"), at("tab-python")],
  panel: at("code-panel"),
  code: at("code"),
  copy: at("copy"),
});
const timeline = new Timeline(
  { slider: at("deadline"), value: at("deadline-value"), dots: at("dots"), used: at("used"), steps: at("steps") },
  {
    onDeadline(ms) {
      intoAddress({ deadline: ms.toPrecision(3), stage: null });
      wantedStage = null;
      told();
      ask({ slow: false });
    },
    onStage: (stage) => playback.showAt(playback.answers.findIndex((one) => one.stage === stage)),
  },
);
const playback = new Playback(drawn, () => timeline.rangeMs);
const download = new DownloadView(
  {
    panel: at("download-panel"),
    shards: at("shards"),
    caption: at("download-caption"),
    throttle: at("throttle"),
    again: at("again"),
  },
  (connection) => {
    intoAddress({ throttle: connection === "full" ? null : connection });
    openSite(connection);
  },
);

/** Draws one answer of the run, or that there is none. */
function drawn(answer, { atMs, playing, index }) {
  const { answers } = playback;
  timeline.show(answers, answer, { atMs, playing });
  at("play").disabled = answers.length === 0;
  at("play").textContent = playing ? "Pause" : "Play in slow motion";
  if (!answer) return;
  answerView.show(answer, { playing, deadlineMs: timeline.deadlineMs, truth: picture?.truth });
  told();
  if (!playing && index >= 0 && index < answers.length - 1 && !answer.final) intoAddress({ stage: answer.stage });
}

/** What the deadline buys. Times are those that stages usually take; a run may have been slower. */
function bought() {
  const { stages } = source.about;
  if (source.ready < stages.length) return source.failed ? "Further stages did not arrive" : "Further stages are on their way";
  const { answers } = playback;
  const best = (count) => Math.max(...stages.slice(0, count).map((stage, i) => stage.accuracy ?? i));
  const short = answers.some((one) => one.late) || best(Math.max(...answers.map((one) => one.stage))) < best(stages.length);
  return oneMore(stages, timeline.deadlineMs, short && answers.some((one) => one.final));
}

/** What follows from the deadline. */
function told() {
  if (!source) return;
  at("buys").textContent = bought();
  curve.show(timeline.deadlineMs, playback.answers[playback.index]?.stage ?? 0);
  snippetView.show(
    snippets({
      kind: source.kind,
      model: source.about.name,
      deadlineMs: timeline.deadlineMs,
      picture,
      key: key !== null,
    }),
  );
}

/** Asks the source for the picture; what was asked before is cancelled. */
async function ask({ slow }) {
  if (!source || !picture || source.ready === 0) return;
  asking?.abort();
  const mine = (asking = new AbortController());
  await measure();
  if (mine.signal.aborted) return;
  playback.begin({ slow });
  try {
    const { about } = source;
    const deadlineMs = about.stages.every((stage) => stage.ms === null) ? undefined : timeline.deadlineMs;
    for await (const answer of source.answers(picture, { deadlineMs, signal: mine.signal })) {
      if (mine.signal.aborted) return;
      answerView.prepare([answer]);
      playback.add(answer);
    }
    complain(null);
    if (measured !== source && source.estimate) {
      source.estimate(playback.answers);
      span();
    }
    if (wantedStage) playback.showAt(playback.answers.findIndex((one) => one.stage === wantedStage));
  } catch (error) {
    if (mine.signal.aborted) return;
    playback.end();
    if (error.status === 401) askForKey();
    complain(error.retryAfterS ? `${error.message}. Try again in ${error.retryAfterS} s.` : error.message);
    if (!playback.answers.length) answerView.nothing("No answer");
  } finally {
    if (asking === mine) asking = null;
  }
}

/** Once for a source, when all of it is here: what its stages take on this machine. Whoever comes meanwhile waits, too. */
async function measure() {
  const mine = source;
  if (measured === mine || mine.ready < mine.about.stages.length) return;
  // What is wrong, the next request says.
  if (measuring?.source !== mine) measuring = { source: mine, done: mine.measure(picture).catch(() => {}) };
  await measuring.done;
  if (measured === mine || source !== mine) return;
  measured = mine;
  span();
}

/** Stretches the slider and the curve over the times of the stages; a deadline that somebody chose stays. */
function span() {
  const { stages } = source.about;
  timeline.begin(stages, Number(fromAddress().deadline) || null);
  timeline.show(playback.answers, playback.answers[playback.index] ?? null, { atMs: 0, playing: playback.playing });
  curve.begin(stages, timeline.rangeMs);
  told();
}

/** A new picture: cancels the one before and plays its answers in slow motion. */
async function take(blob, name, { sample = null, truth = null } = {}) {
  const mine = (taking = {});
  stopCamera();
  let taken;
  try {
    taken = await Picture.of(blob, name);
  } catch (error) {
    complain(error.message);
    return;
  }
  if (taking !== mine) return; // a smaller one came later and was there first
  picture = Object.assign(taken, { sample, truth });
  complain(null);
  picture.draw(at("canvas"));
  at("hint").hidden = true;
  mark(at("samples"), sample);
  intoAddress({ sample: sample === null ? null : sample + 1 });
  if (sample === null || Number(address.sample) !== sample + 1) wantedStage = null;
  answerView.newPicture();
  answerView.nothing(source?.ready ? "Asking …" : lost ? NO_NET : "Waiting for the net");
  told();
  await ask({ slow: true });
}

function complain(words) {
  at("notice").hidden = !words;
  at("notice").textContent = words ?? "";
}

/** A source has been opened: everything that depends on its model. */
function use(opened) {
  source?.close();
  source = opened;
  const { about, kind } = source;
  at("where").textContent = kind === "server" ? `${about.name}, on this server` : `${about.name}, in your browser`;
  document.title = `${about.name}: answers within any deadline`;
  answerView.begin(about.classNames);
  playback.forget();
  span();
  if (about.samples) offerSamples();
  at("model-field").hidden = about.models.length < 2;
  at("model").replaceChildren(...about.models.map((name) => new Option(name, name, false, name === about.name)));
}

/** The samples of whoever made the page; the first is shown where nothing else is. */
async function offerSamples() {
  if (offered) return;
  offered = true;
  const samples = await listed();
  const press = show(at("samples"), samples, (blob, { file, label }, index) =>
    take(blob, file, { sample: index, truth: label }),
  );
  if (!picture) press(Number(address.sample) ? Number(address.sample) - 1 : 0);
}

async function openServer(model) {
  const { Server } = await import("./sources/server.js");
  try {
    use(await Server.open({ model, key }));
  } catch (error) {
    if (error.status === 401) askForKey();
    complain(error.message);
    return;
  }
  complain(null);
  at("load-panel").hidden = false;
  at("demo").hidden = !source.about.demo;
  loadView.begin(source);
  if (picture) ask({ slow: true });
}

/** Opens the net beside the page; with each part that arrives the picture is asked again. */
async function openSite(connection) {
  opening?.abort();
  const mine = (opening = new AbortController());
  const { Engine } = await import("./sources/engine.js");
  lost = false;
  complain(null);
  download.begin(connection);
  offerSamples(); // now, before weights fill the line
  let opened = null;
  try {
    opened = await Engine.open(new URL("net/", document.baseURI).href, {
      throttle: CONNECTIONS[connection].throttle,
      signal: mine.signal,
      onBytes: (done, all) => !mine.signal.aborted && download.bytes(done, all),
      onStage: (ready, of) => !mine.signal.aborted && opened && arrived(opened, ready, of),
    });
  } catch (error) {
    if (mine.signal.aborted) return;
    lost = true;
    download.failed(error, 0);
    if (!source) answerView.nothing(NO_NET);
    complain(`${NO_NET}: ${error.message}.`);
    return;
  }
  if (mine.signal.aborted) return opened.close();
  use(opened);
  download.sizes(opened.about.stages);
  opened.loaded.then(() => {
    if (opened !== source || !opened.failed) return;
    download.failed(opened.failed, opened.ready);
    told();
  });
  await arrived(opened, opened.ready, opened.about.stages.length);
}

async function arrived(opened, ready, of) {
  download.ready(ready, of);
  if (picture) await ask({ slow: ready === of });
}

function askForKey() {
  at("key-form").hidden = false;
  at("key").focus();
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value;
  at("key").value = "";
  at("key-form").hidden = true;
  openServer(at("model").value || address.model);
});

at("model").addEventListener("change", () => {
  intoAddress({ model: at("model").value, deadline: null, stage: null });
  openServer(at("model").value);
});

at("play").addEventListener("click", () => playback.toggle());

// Keys of the page; a control that has the focus keeps its own.
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
  const own = event.target.closest("input, select, textarea, button, summary, [role=tab], pre");
  if (event.key === " " && (!own || own.id === "deadline")) playback.toggle();
  else if (!own && event.key === "ArrowRight") playback.step(1);
  else if (!own && event.key === "ArrowLeft") playback.step(-1);
  else return;
  event.preventDefault();
});

/** While the server is kept busy the picture is asked again and again, to see what becomes of its answer. */
function demonstrate(button, seconds, start) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await start(seconds);
    } catch (error) {
      complain(error.message);
      button.disabled = false;
      return;
    }
    const until = performance.now() + 1000 * seconds;
    const words = button.textContent;
    while (performance.now() < until) {
      button.textContent = `${Math.ceil((until - performance.now()) / 1000)} s …`;
      if (!asking) ask({ slow: false });
      await new Promise((resolve) => setTimeout(resolve, 400));
    }
    button.textContent = words;
    button.disabled = false;
  });
}
const MOST_HZ = 500;
const BESIDE_MS = 5; // what a request takes beside the net, roughly
/** Twice as many requests as can be answered in full. */
const rateHz = () => Math.min(MOST_HZ, Math.max(20, Math.round(2000 / (source.about.fullMs + BESIDE_MS))));
demonstrate(at("burst"), 6, (seconds) => source.burst({ rate_hz: rateHz(), seconds, deadline_ms: timeline.deadlineMs }));
demonstrate(at("steal"), 6, (seconds) => source.steal({ seconds }));

listen({ drop: at("drop"), file: at("file"), choose: at("choose") }, take);
stopCamera = camera({ button: at("camera"), video: at("video") }, take, complain);

if (location.protocol !== "file:") {
  if (document.querySelector("meta[name=answers]").content === "browser") {
    openSite(address.throttle in CONNECTIONS ? address.throttle : "full");
  } else openServer(address.model);
}
