// The page with the real server: what it shows is what the server says, also where its calls are copied.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { dirname } from "node:path";
import { after, test } from "node:test";
import { closeBrowser, freshPage } from "./harness.mjs";

const { SERVER, PICTURE, PYTHON } = process.env;
after(closeBrowser);

test("a picture is answered, the slider moves it, and the calls on screen give the same label", async () => {
  const page = await freshPage();
  const text = (id) => page.textContent(`#${id}`);
  await page.goto(SERVER);
  await page.waitForFunction(() => document.querySelectorAll("#bars li").length === 10);
  await page.setInputFiles("#file", PICTURE);
  await page.waitForFunction(() => /^Stage \d of \d, after/.test(document.getElementById("status").textContent));
  const label = await text("label");
  assert.match(label, /^\d$/);
  assert.match(await text("deadline-value"), / ms$/);
  const sum = await page.$$eval("#bars .value", (all) => all.reduce((sum, one) => sum + parseInt(one.textContent), 0));
  assert.ok(Math.abs(sum - 100) <= 5, `${sum} %`);

  // A deadline that leaves time for every stage on a busy machine, too.
  await page.$eval("#deadline", (slider) => {
    slider.max = 2000;
    slider.value = 2000;
    slider.dispatchEvent(new Event("input"));
  });
  await page.waitForFunction(() => /^Stage \d of \d, after/.test(document.getElementById("status").textContent));
  await page.click("#api summary");
  const options = { cwd: dirname(PICTURE), encoding: "utf8" };
  const said = JSON.parse(execFileSync("sh", ["-c", `${await text("code")} --silent`], options));
  assert.equal(said.label, await text("label"));
  await page.click("#tab-python");
  const printed = execFileSync(PYTHON, ["-c", await text("code")], options);
  assert.match(printed, new RegExp(`^${said.label} says stage ${said.stage} of ${said.stages}`));
  await page.waitForFunction(() => /stage \d [1-9]/.test(document.getElementById("histogram").getAttribute("aria-label")));
  assert.deepEqual(page.problems, []);
});
