// What the browser's tests share: one headless Chromium, folders served over HTTP, pictures.
import { createReadStream } from "node:fs";
import { stat, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32, deflateSync } from "node:zlib";

export const ROOT = resolve(fileURLToPath(import.meta.url), "../../..");
export const PAGE = join(ROOT, "src/anytimenet/serving/page");
export const CSP = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'";

// `make page-tools` installs playwright-core and axe-core.
const need = createRequire(import.meta.url);

let launched = null;

/** The one Chromium of this process; `closeBrowser` ends it. */
export async function browser() {
  const { chromium } = need("playwright-core");
  launched ??= chromium.launch({ executablePath: process.env.ANYTIMENET_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream"] });
  return launched;
}

export async function closeBrowser() {
  await (await launched)?.close();
  launched = null;
}

/**
 * A fresh page, which moves as little as a person may ask for, and whose errors are collected in `page.problems`: uncaught ones, refusals of the content security
 * policy and messages of the console.
 */
export async function freshPage(options = {}) {
  const context = await (await browser()).newContext({ viewport: { width: 1000, height: 700 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(error.stack));
  page.on("console", (message) => message.type() === "error" && page.problems.push(message.text()));
  page.setDefaultTimeout(15_000);
  return page;
}

/** Violations that axe-core finds in the whole page, in words. */
export async function violations(page) {
  const source = await readFile(need.resolve("axe-core/axe.min.js"), "utf8");
  await page.evaluate(source); // through the debugger, which the page's policy does not stop
  const { violations: found } = await page.evaluate(() => globalThis.axe.run());
  return found.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
}

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".wasm": "application/wasm",
};

/**
 * Serves a folder. `bytesPerSecond(path)` slows a body, null does not; `change(path, body)` may give other bytes; `seen` lists
 * {path, startedAt, endedAt} of each request in milliseconds of performance.now().
 */
export async function serveFolder(folder, { bytesPerSecond, change } = {}) {
  const seen = [];
  const listener = async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname)).replace(/^\/+/, "");
    const record = { path, startedAt: performance.now(), endedAt: null };
    seen.push(record);
    response.on("finish", () => (record.endedAt = performance.now()));
    const file = join(folder, path === "" ? "index.html" : path);
    await sendFile(response, file, { path, bytesPerSecond: bytesPerSecond?.(path) ?? null, change });
  };
  return { ...(await listening(listener)), seen };
}

/** Sends one file as a static host does. */
export async function sendFile(response, file, { path = "", bytesPerSecond, change } = {}) {
  const found = await stat(file).catch(() => null);
  if (!found?.isFile()) return response.writeHead(404).end();
  const headers = { "content-type": TYPES[extname(file)] ?? "application/octet-stream", "cache-control": "no-store" };
  if (!bytesPerSecond && !change) {
    response.writeHead(200, { ...headers, "content-length": found.size });
    return createReadStream(file).pipe(response);
  }
  const original = await readFile(file);
  const body = change?.(path, original) ?? original;
  response.writeHead(200, { ...headers, "content-length": body.length });
  const chunk = bytesPerSecond ? Math.max(256, Math.round(bytesPerSecond / 20)) : body.length;
  for (let start = 0; start < body.length && !response.destroyed; start += chunk) {
    response.write(body.subarray(start, start + chunk));
    if (bytesPerSecond) await new Promise((done) => setTimeout(done, 50));
  }
  return response.end();
}

/** An HTTP server on a free port of this machine: {url, close}. */
export async function listening(listener) {
  const server = createServer(listener);
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () =>
      new Promise((done) => {
        server.close(done);
        server.closeAllConnections();
      }),
  };
}

/** A PNG of `pixel(x, y) -> [red, green, blue]`. */
export function png(width, height, pixel) {
  const rows = Buffer.alloc(height * (1 + 3 * width));
  for (let y = 0; y < height; y += 1)
    for (let x = 0; x < width; x += 1) rows.set(pixel(x, y), y * (1 + 3 * width) + 1 + 3 * x);
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const chunk = (name, data) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    const out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length, 0);
    out.set(body, 4);
    out.writeUInt32BE(crc32(body), body.length + 4);
    return out;
  };
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

/** Drops a file on the page, as a hand would. */
export async function dropFile(page, buffer, name, type = "image/png") {
  const data = await page.evaluateHandle(
    ({ bytes, name, type }) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, { type }));
      return transfer;
    },
    { bytes: buffer.toString("base64"), name, type },
  );
  await page.dispatchEvent("#drop", "drop", { dataTransfer: data });
}
