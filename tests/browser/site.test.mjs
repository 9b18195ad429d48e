// The static site: the net arrives in stages over a slow line, answers after the first, and says what Python says.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { after, afterEach, test } from "node:test";
import { closeBrowser, freshPage, serveFolder, violations } from "./harness.mjs";

const { SITE } = process.env;
const closing = [];
afterEach(async () => {
  while (closing.length) await closing.pop()();
});
after(closeBrowser);

async function served(options) {
  const server = await serveFolder(SITE, options);
  closing.push(server.close);
  return server;
}

async function opened(server, query = "", options = {}) {
  const page = await freshPage(options);
  closing.push(() => page.context().close());
  await page.goto(server.url + query);
  return page;
}

const answered = (page) =>
  page.waitForFunction(() => /^Stage \d/.test(document.getElementById("status").textContent), null, { timeout: 60_000 });
const complete = (page) =>
  page.waitForFunction(() => /all \d stages after/.test(document.getElementById("download-caption").textContent), null, {
    timeout: 60_000,
  });
const measured = (page) =>
  page.waitForFunction(() => document.querySelectorAll("#dots li:not([hidden])").length > 0 && !document.getElementById("deadline").disabled);
const isWeights = ({ path }) => path.endsWith(".safetensors");

test("on a slow line the first part answers before the second has arrived", async () => {
  const second = join(SITE, "net", (await weights())[1]);
  const { length } = await readFile(second);
  // A line on which the second part alone takes twenty seconds, also where the machine is busy.
  const server = await served({ bytesPerSecond: (path) => (path.includes("model-00001") ? null : isWeights({ path }) ? length / 20 : null) });
  const page = await opened(server);
  await answered(page);
  const at = performance.now();
  const record = server.seen.find(({ path }) => path.includes("model-00002"));
  assert.ok(record === undefined || record.endedAt === null, `the second part had arrived ${at - record?.endedAt} ms before`);
  assert.match(await page.textContent("#status"), /^Stage 1 of/);
  assert.notEqual((await page.textContent("#label")).trim(), "");
  assert.deepEqual(page.problems, []);
});

test("samples are answered by every stage as Python answered them", async () => {
  const { samples } = JSON.parse(await readFile(join(SITE, "samples/samples.json"), "utf8"));
  const page = await opened(await served());
  await complete(page);
  await measured(page);
  for (const [i, { labels }] of samples.entries()) {
    await page.click(`#samples li:nth-child(${i + 1}) button`);
    await page.waitForFunction((i) => document.querySelector(`#samples li:nth-child(${i}) button`).getAttribute("aria-pressed") === "true", i + 1);
    await page.waitForFunction(
      (labels) => {
        const slider = document.getElementById("deadline");
        if (Number(slider.max) !== 5000) {
          slider.max = 5000; // time for every stage, however busy the machine; times that are measured set it anew
          slider.value = 5000;
          slider.dispatchEvent(new Event("input"));
        }
        return JSON.stringify([...document.querySelectorAll("#steps .says")].map((one) => one.textContent)) === labels;
      },
      JSON.stringify(labels),
    );
  }
  assert.deepEqual(page.problems, []);
});

test("a part with a wrong hash is told, and the stages before it go on answering", async () => {
  const [, , third] = await weights();
  const server = await served({
    change: (path, body) => {
      if (!path.endsWith(third)) return body;
      const wrong = Buffer.from(body);
      wrong[wrong.length - 1] ^= 1;
      return wrong;
    },
  });
  const page = await opened(server);
  await page.waitForSelector("#download-caption.failed", { timeout: 60_000 });
  assert.match(await page.textContent("#download-caption"), /Stages 1 to 2 go on answering/);
  assert.equal(await page.textContent("#buys"), "Further stages did not arrive");
  await page.click("#samples li:nth-child(2) button");
  await page.waitForSelector('#samples li:nth-child(2) button[aria-pressed="true"]');
  await page.waitForFunction(() => /^Stage [12] of/.test(document.getElementById("status").textContent));
});

test("a net of which nothing arrives is told on the first screen, and can be loaded again", async () => {
  const [first] = await weights();
  let broken = true;
  const server = await served({ change: (path, body) => (broken && path.endsWith(first) ? Buffer.alloc(0) : body) });
  const page = await opened(server);
  await page.waitForSelector("#notice:not([hidden])");
  assert.match(await page.textContent("#notice"), /^The net did not arrive: .* is not the file that the manifest lists/);
  await page.waitForFunction(() => document.getElementById("status").textContent === "The net did not arrive");
  await page.waitForSelector("#samples li:nth-child(2) button");
  await page.click("#samples li:nth-child(2) button");
  await page.waitForFunction(() => document.getElementById("status").textContent === "The net did not arrive");
  broken = false;
  await page.click("#again");
  await answered(page);
  assert.equal(await page.isVisible("#notice"), false);
});

test("the throttle loads the net again, slowly, and the address says so", async () => {
  const page = await opened(await served());
  await complete(page);
  await page.selectOption("#throttle", "3g");
  await page.waitForFunction(() => !/all \d stages/.test(document.getElementById("download-caption").textContent));
  await answered(page);
  await complete(page);
  assert.match(page.url(), /throttle=3g/);
  const seconds = Number(/all \d stages after ([\d.]+) s/.exec(await page.textContent("#download-caption"))[1]);
  const total = (await Promise.all((await weights()).map((name) => readFile(join(SITE, "net", name))))).reduce((sum, one) => sum + one.length, 0);
  assert.ok(seconds >= (0.8 * total) / 50_000, `${total} bytes came in ${seconds} s`);
});

test("opened as a file the page says what to do", async () => {
  const page = await freshPage();
  closing.push(() => page.context().close());
  await page.goto(pathToFileURL(join(SITE, "index.html")).href);
  await page.waitForSelector("#notice:not([hidden])");
  assert.match(await page.textContent("#notice"), /opened as a file.*python -m http\.server/s);
});

test("axe-core finds nothing on the static site", async () => {
  const page = await opened(await served());
  await complete(page);
  await answered(page);
  assert.deepEqual(await violations(page), []);
});

async function weights() {
  const manifest = JSON.parse(await readFile(join(SITE, "net/manifest.json"), "utf8"));
  return manifest.weights.flat();
}
