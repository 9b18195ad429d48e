// first_answer.mjs SITE ROUNDS: milliseconds from the first request of a static site to its first answer on screen, and the
// bytes of the files that had come whole by then, over connections as Chromium throttles them. What is printed is JSON.
// A session of the debugger that is of the page alone hears nothing of what its worker loads: engine and weights.
import process from "node:process";
import { closeBrowser, freshPage, serveFolder } from "../../tests/browser/harness.mjs";

const CONNECTIONS = [
  { what: "loopback", rate: -1, latencyMs: 0 },
  { what: "1.6 Mbit/s, 150 ms a request", rate: 1.6e6 / 8, latencyMs: 150 },
  { what: "400 kbit/s, 400 ms a request", rate: 400e3 / 8, latencyMs: 400 },
];
const [, , site, rounds] = process.argv;

async function once(url, { rate, latencyMs }) {
  const page = await freshPage();
  try {
    const protocol = await page.context().newCDPSession(page);
    await protocol.send("Network.enable");
    await protocol.send("Network.setCacheDisabled", { cacheDisabled: true });
    const limits = { offline: false, latency: latencyMs, downloadThroughput: rate, uploadThroughput: rate };
    await protocol.send("Network.emulateNetworkConditions", limits);
    let begun = null;
    const whole = [];
    protocol.on("Network.requestWillBeSent", () => (begun ??= performance.now()));
    page.on("requestfinished", (request) => whole.push(request));
    await page.goto(url, { waitUntil: "commit", timeout: 120_000 });
    const answered = () => /^Stage \d/.test(document.getElementById("status")?.textContent ?? "");
    await page.waitForFunction(answered, null, { timeout: 120_000, polling: 20 });
    const [ms, here] = [performance.now() - begun, [...whole]];
    const sizes = await Promise.all(here.map((request) => request.sizes()));
    const files = here.map((request) => new URL(request.url()).pathname);
    if (!files.some((path) => path.endsWith(".wasm"))) throw new Error(`what the worker loads was not seen: ${files.join(" ")}`);
    return { ms, bytes: sizes.reduce((sum, { responseBodySize }) => sum + responseBodySize, 0) };
  } finally {
    await page.context().close();
  }
}

const server = await serveFolder(site);
const rows = [];
try {
  for (const connection of CONNECTIONS) {
    const found = [];
    for (let round = 0; round < Number(rounds); round += 1) found.push(await once(server.url, connection));
    found.sort((one, other) => one.ms - other.ms);
    rows.push({ ...connection, all_ms: found.map(({ ms }) => Math.round(ms)), ...found[Math.floor(found.length / 2)] });
  }
} finally {
  await closeBrowser();
  await server.close();
}
process.stdout.write(JSON.stringify(rows));
