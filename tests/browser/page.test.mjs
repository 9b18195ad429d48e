// The page with a server: flows of a person, in a real browser.
import assert from "node:assert/strict";
import { after, afterEach, beforeEach, test } from "node:test";
import { fakeServer } from "./fake_server.mjs";
import { closeBrowser, dropFile, freshPage, png, violations } from "./harness.mjs";

const PICTURE = png(48, 32, (x, y) => [5 * x, 7 * y, 128]);
let server;
let page;

beforeEach(async () => {
  server = await fakeServer();
  page = await freshPage();
});
afterEach(async () => {
  const { problems } = page;
  await page.context().close();
  await server.close();
  assert.deepEqual(problems, []);
});
after(closeBrowser);

const text = (id) => page.textContent(`#${id}`);
const settled = () =>
  page.waitForFunction(() => document.getElementById("play").textContent === "Play in slow motion" && /^Stage/.test(document.getElementById("status").textContent));
const setDeadline = (ms) =>
  page.$eval(
    "#deadline",
    (slider, ms) => {
      slider.value = ms;
      slider.dispatchEvent(new Event("input"));
    },
    ms,
  );

async function opened(query = "") {
  await page.goto(server.url + query);
  await settled();
}

/** Once more, with slow motion. */
async function moving() {
  await page.context().close();
  page = await freshPage({ reducedMotion: "no-preference" });
}

test("opens with a sample, and its answer sharpens from coarse to fine without moving a row", async () => {
  await moving();
  await page.addInitScript(() => {
    globalThis.seen = [];
    addEventListener("DOMContentLoaded", () => {
      const note = () =>
        globalThis.seen.push({
          label: document.getElementById("label").textContent.trim(),
          rows: [...document.querySelectorAll("#bars .name")].map((name) => name.textContent),
        });
      new MutationObserver(note).observe(document.getElementById("status"), { childList: true });
    });
  });
  await page.goto(server.url);
  await settled();
  const seen = (await page.evaluate(() => globalThis.seen)).filter(({ label }) => label);
  assert.deepEqual([seen[0].label, seen[0].rows], ["animal", ["vehicle", "animal"]]);
  assert.equal(seen.at(-1).label, "truck");
  const fine = seen.filter(({ rows }) => rows.length === 10).map(({ rows }) => rows.join());
  assert.equal(new Set(fine).size, 1);
  assert.match(await text("status"), /^Stage 5 of 5, after 6\.3 ms$/);
});

test("a dropped picture is asked, and the curve and the calls follow it", async () => {
  await opened();
  const before = server.asked.length;
  await dropFile(page, PICTURE, "my cat's.png");
  await page.waitForFunction(() => document.getElementById("canvas").getAttribute("aria-label").includes("my cat"));
  await settled();
  assert.equal(server.asked.length, before + 1);
  assert.equal(server.asked.at(-1).bytes, PICTURE.length);
  assert.equal(new URL(page.url()).searchParams.get("sample"), null);
  await page.click("#api summary");
  assert.match(await text("code"), /--data-binary '@my cat'\\''s\.png'/);
  assert.ok(await page.locator("#curve canvas").count());
});

test("a picture in the clipboard is pasted with the keys of every other program, and words are none", async () => {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await opened();
  const before = server.asked.length;
  await page.evaluate(async (bytes) => {
    const blob = new Blob([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], { type: "image/png" });
    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
  }, PICTURE.toString("base64"));
  await page.keyboard.press("Control+V");
  await page.waitForFunction(() => document.getElementById("canvas").getAttribute("aria-label").includes("image.png"));
  await settled();
  assert.equal(server.asked.length, before + 1);
  await page.evaluate(() => navigator.clipboard.writeText("words"));
  await page.keyboard.press("Control+V");
  await page.waitForTimeout(200);
  assert.equal(server.asked.length, before + 1);
  assert.ok(await page.isHidden("#notice"));
});

const filming = () => page.$eval("#video", (video) => Boolean(video.srcObject?.getTracks().some(({ readyState }) => readyState === "live")));

test("the camera shows what it sees, and the second press asks about it and turns it off", async () => {
  await page.context().grantPermissions(["camera"]);
  await opened();
  const before = server.asked.length;
  await page.click("#camera");
  await page.waitForFunction(() => document.getElementById("camera").textContent === "Take it");
  assert.equal(await filming(), true);
  assert.ok(await page.isVisible("#video"));
  assert.equal(server.asked.length, before);
  await page.click("#camera");
  await page.waitForFunction(() => document.getElementById("canvas").getAttribute("aria-label").includes("photograph.jpg"));
  await settled();
  assert.equal(await filming(), false);
  assert.ok(await page.isHidden("#video"));
  assert.equal(server.asked.length, before + 1);
  assert.ok(server.asked.at(-1).bytes > 1000);
  assert.equal(await text("camera"), "Camera");
});

test("of two pictures the later one stays, also where it is decoded sooner", async () => {
  await opened();
  await page.evaluate(() => {
    const decode = globalThis.createImageBitmap;
    let first = true;
    globalThis.createImageBitmap = async (...given) => {
      const slow = first;
      first = false;
      if (slow) await new Promise((done) => setTimeout(done, 500));
      return decode(...given);
    };
  });
  await dropFile(page, PICTURE, "large.png");
  await dropFile(page, PICTURE, "small.png");
  await page.waitForTimeout(1000);
  assert.match(await page.getAttribute("#canvas", "aria-label"), /small\.png/);
});

test("another picture turns the camera off", async () => {
  await page.context().grantPermissions(["camera"]);
  await opened();
  await page.click("#camera");
  await page.waitForFunction(() => document.getElementById("camera").textContent === "Take it");
  await dropFile(page, PICTURE, "other.png");
  await page.waitForFunction(() => document.getElementById("canvas").getAttribute("aria-label").includes("other"));
  assert.equal(await filming(), false);
  assert.equal(await text("camera"), "Camera");
});

test("a camera that nobody allows is told, and the button is there again", async () => {
  await page.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("Permission denied", "NotAllowedError"));
  });
  await opened();
  await page.click("#camera");
  await page.waitForSelector("#notice:not([hidden])");
  assert.match(await text("notice"), /The camera cannot be used: Permission denied/);
  assert.ok(await page.isEnabled("#camera"));
  assert.ok(await page.isHidden("#video"));
});

test("what is no picture is refused in words, and the answer before stays", async () => {
  await opened();
  const label = await text("label");
  await dropFile(page, Buffer.from("no picture"), "letter.png");
  await page.waitForSelector("#notice:not([hidden])");
  assert.match(await text("notice"), /letter\.png is no picture/);
  assert.equal(await text("label"), label);
});

test("the slider decides which stage answers, and says what one more millisecond would buy", async () => {
  await opened();
  await setDeadline(2);
  await page.waitForFunction(() => /^Stage 2 of 5/.test(document.getElementById("status").textContent));
  assert.match(await text("buys"), /^One more millisecond buys stage 3: 11\.1 points more accurate$/);
  assert.equal(server.asked.at(-1).deadlineMs, 2);
  assert.equal(new URL(page.url()).searchParams.get("deadline"), "2.00");
  await setDeadline(4.5);
  await page.waitForFunction(() => /^Stage 4 of 5/.test(document.getElementById("status").textContent));
  assert.match(await text("buys"), /^Stage 5 needs 1\.8 ms more: 4\.0 points/);
});

test("a deadline that even the first stage misses is answered, and told to be late", async () => {
  await opened();
  await setDeadline(0.2);
  await page.waitForSelector("#status.late");
  assert.match(await text("status"), /^Stage 1 of 5, after 0\.90 ms: late/);
  assert.notEqual((await text("label")).trim(), "");
});

test("an answer that is told late, of a stage that was in time, says when it was told", async () => {
  await opened();
  server.settings.toldAfterMs = 5;
  await setDeadline(9);
  await page.waitForSelector("#status.late");
  assert.match(await text("status"), /^Stage 5 of 5, after 11\.3 ms: late, for it took longer than 9\.0 ms$/);
});

test("a new picture cancels the request before", async () => {
  await opened();
  server.settings.waitMs = 400;
  server.asked.length = 0;
  await dropFile(page, PICTURE, "first.png");
  while (!server.asked.length) await page.waitForTimeout(20);
  await dropFile(page, PICTURE, "second.png");
  await page.waitForFunction(() => document.getElementById("canvas").getAttribute("aria-label").includes("second"));
  server.settings.waitMs = 0;
  await settled();
  assert.deepEqual(server.asked.map((one) => one.cancelled), [true, false]);
  assert.match(await text("status"), /^Stage 5 of 5/);
});

test("a picture that comes while the stages are measured waits for their times", async () => {
  server.settings.waitMs = 60;
  await page.goto(server.url);
  while (!server.asked.length) await page.waitForTimeout(10);
  await dropFile(page, PICTURE, "second.png");
  await page.waitForFunction(() => document.getElementById("canvas").getAttribute("aria-label").includes("second"));
  await page.waitForFunction(() => /^Stage 5 of 5/.test(document.getElementById("status").textContent));
  assert.ok(server.asked.every(({ deadlineMs }) => deadlineMs >= 9), `${server.asked.map((one) => one.deadlineMs)}`);
});

test("a link shows the same deadline, sample and stage", async () => {
  await opened("?deadline=4.5&sample=3&stage=2");
  await page.waitForFunction(() => /^Stage 2 of 5/.test(document.getElementById("status").textContent));
  assert.equal(await page.getAttribute("#samples li:nth-child(3) button", "aria-pressed"), "true");
  assert.match(await text("deadline-value"), /4\.5 ms/);
});

test("the keyboard alone does everything", async () => {
  await moving();
  await opened();
  await page.keyboard.press("ArrowLeft");
  assert.match(await text("status"), /^Stage 4 of 5/);
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowRight");
  assert.match(await text("status"), /^Stage 4 of 5/);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Space");
  await page.waitForFunction(() => document.getElementById("play").textContent === "Pause");
  await page.keyboard.press("Space");
  const paused = await text("status");
  await page.waitForTimeout(300);
  assert.equal(await text("status"), paused);
  await page.focus("#deadline");
  const asked = server.asked.length;
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction(() => /deadline=/.test(location.search));
  assert.ok(server.asked.length >= asked);
});

test("a server that dies mid-stream leaves the answers so far, and is told", async () => {
  Object.assign(server.settings, { dieAfter: 2, waitMs: 200 });
  await page.goto(server.url);
  await page.waitForSelector("#notice:not([hidden])");
  assert.match(await text("status"), /^Stage 2 of 5/);
  Object.assign(server.settings, { dieAfter: null, waitMs: 0 });
  await setDeadline(9);
  await page.waitForFunction(() => /^Stage 5 of 5/.test(document.getElementById("status").textContent));
  assert.equal(await page.isVisible("#notice"), false);
  page.problems = page.problems.filter((problem) => !/ERR_INCOMPLETE_CHUNKED|net::ERR/.test(problem));
});

test("a refusal says when to come again", async () => {
  await opened();
  server.settings.refuse = { status: 503, body: { error: "too many requests wait", reason: "overload", retry_after_s: 2 } };
  await setDeadline(5);
  await page.waitForSelector("#notice:not([hidden])");
  assert.match(await text("notice"), /too many requests wait\. Try again in 2 s/);
  page.problems = page.problems.filter((problem) => !/503/.test(problem));
});

test("a key is asked for, used, and in no address", async () => {
  server.settings.key = "secret-7";
  await page.goto(server.url);
  await page.waitForSelector("#key-form:not([hidden])");
  await page.fill("#key", "secret-7");
  await page.keyboard.press("Enter");
  await settled();
  assert.doesNotMatch(page.url(), /secret/);
  await page.click("#api summary");
  assert.match(await text("code"), /\$ANYTIMENET_KEY/);
  assert.doesNotMatch(await page.content(), /secret-7/);
  page.problems = page.problems.filter((problem) => !/401/.test(problem));
});

test("a burst is sent, bounded, and the stages that answer move", async () => {
  await opened();
  await setDeadline(7);
  await page.waitForFunction(() => /^Stage 5/.test(document.getElementById("status").textContent));
  await page.click("#burst");
  await page.waitForFunction(() => /^Stage 2 of 5/.test(document.getElementById("status").textContent));
  assert.equal(server.demo[0].what, "burst");
  assert.ok(server.demo[0].seconds <= 10);
  await page.waitForFunction(() => /stage 2 [1-9]/.test(document.getElementById("histogram").getAttribute("aria-label")));
  const drawn = await page.$$eval("#histogram > div", (all) =>
    all.map((one) => ({ told: parseFloat(one.querySelector(".share").textContent), scale: parseFloat(/scaleY\((.*)\)/.exec(one.querySelector(".fill").style.transform)[1]) })));
  assert.ok(drawn.filter(({ told }) => told > 0).length > 1, JSON.stringify(drawn));
  assert.ok(drawn.every(({ told, scale }) => Math.abs(100 * scale - told) <= 0.6), `a bar is its share of all answers: ${JSON.stringify(drawn)}`);
  await page.waitForFunction(() => /^Stage 5/.test(document.getElementById("status").textContent));
});

test("without demonstrations there are no buttons for them", async () => {
  server.settings.demo = false;
  await opened();
  assert.equal(await page.isVisible("#load-panel"), true);
  assert.equal(await page.isVisible("#burst"), false);
});

test("on a narrow phone stages that are done close together can be read, and no line of a stage wraps", async () => {
  await page.context().close();
  page = await freshPage({ viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true });
  server.settings.stageMs = [158, 158.2, 337, 358, 534];
  await opened();
  const boxes = await page.$$eval("#dots li", (all) =>
    all.filter((one) => one.textContent).map((one) => ({ text: one.textContent, ...one.getBoundingClientRect().toJSON() })));
  assert.deepEqual(boxes.map(({ text }) => text), ["1–2", "3–4", "5"]);
  boxes.slice(1).forEach(({ left }, i) => assert.ok(left >= boxes[i].right));
  const lines = await page.$$eval("#steps .note, #steps .says", (all) =>
    all.map((one) => one.getBoundingClientRect().height / parseFloat(getComputedStyle(one).lineHeight)));
  assert.equal(lines.length, 10);
  assert.ok(lines.every((count) => count < 1.5), `${lines}`);
});

test("the slider and the stages are on the first screen of a small laptop, and stay where they are", async () => {
  await page.context().close();
  page = await freshPage({ viewport: { width: 1280, height: 720 } });
  await opened();
  const places = () =>
    page.$$eval("#deadline, #steps button", (all) => all.map((one) => one.getBoundingClientRect()).map(({ top, bottom }) => ({ top, bottom })));
  const before = await places();
  assert.ok(before.every(({ bottom }) => bottom <= 720), JSON.stringify(before));
  const notes = await page.$$eval("#steps .note", (all) => all.map((one) => one.scrollWidth - one.clientWidth));
  assert.deepEqual(notes, notes.map(() => 0));
  await page.keyboard.press("ArrowLeft"); // other words stand above and below now
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  assert.deepEqual(await places(), before);
  await page.$eval("#detail", (detail) => (detail.textContent = "55 % sure; too early to say which, perhaps automobile. The sample is: airplane and a little more"));
  assert.deepEqual(await places(), before);
});

test("a run that was slower than usual is not told that every stage fits", async () => {
  await opened();
  assert.match(await text("buys"), /^Every stage fits/);
  server.settings.slower = 3;
  await setDeadline(9);
  await page.waitForFunction(() => /^Stage 3 of 5/.test(document.getElementById("status").textContent));
  assert.match(await text("buys"), /^Usually every stage is done after 6\.3 ms; this time the machine was busy$/);
});

for (const [name, options] of Object.entries({
  light: {},
  dark: { colorScheme: "dark" },
  phone: { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
})) {
  test(`axe-core finds nothing and nothing is wider than the screen: ${name}`, async () => {
    await page.context().close();
    page = await freshPage(options);
    await opened();
    await page.click("#api summary");
    assert.deepEqual(await violations(page), []);
    const [inner, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(inner <= screen, `${inner} of ${screen} pixels`);
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(dark === "rgb(17, 19, 23)", name === "dark");
  });
}
