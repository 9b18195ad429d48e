// A headless Chromium with one page, for scripts that report JSON on their standard output.
import process from "node:process";

/** Runs `work(page, browser)` and prints what it gives; errors of the page end the script. */
export async function withPage(executablePath, work, options = {}) {
  const { chromium } = await import("playwright-core"); // `given` is for scripts without a browser, too
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  try {
    const page = await browser.newPage(options);
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    const found = await work(page, browser);
    if (errors.length && !options.allowErrors) throw new Error(errors.join("\n"));
    process.stdout.write(JSON.stringify(found));
  } finally {
    await browser.close();
  }
}

/** What came on standard input. */
export async function given() {
  let text = "";
  for await (const part of process.stdin) text += part;
  return JSON.parse(text);
}
