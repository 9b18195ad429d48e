// The page with the real server: what it shows is what the server says, also where its calls are copied.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { dirname } from "node:path";
import { after, test } from "node:test";
import { closeBrowser, freshPage } from "./harness.mjs";

const { SERVER, PICTURE, PYTHON } = process.env;
after(closeBrowser);

/** A deadline that leaves time for every stage on a busy machine, too; times that are measured set it anew. */
async function leaveTime(page) {
  await page.waitForFunction(() => {
    const slider = document.getElementById("deadline");
    const there = Number(slider.max) === 2000;
    if (!there) {
      slider.max = 2000;
      slider.value = 2000;
      slider.dispatchEvent(new Event("input"));
    }
    return there && /^Stage \d of \d, after/.test(document.getElementById("status").textContent);
  });
}

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

  await leaveTime(page);
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

for (const [button, path] of [["burst", "v1/demo/burst"], ["steal", "v1/demo/steal"]])
  test(`${button}: the button presses on the server, the panel counts what becomes of it, and it ends by itself`, async () => {
    const page = await freshPage();
    await page.goto(SERVER);
    await page.waitForFunction(() => document.querySelectorAll("#bars li").length === 10);
    await page.setInputFiles("#file", PICTURE);
    await page.waitForFunction(() => document.getElementById("deadline").disabled === false);
    await leaveTime(page);
    const words = await page.textContent(`#${button}`);
    const started = page.waitForResponse((response) => response.url().endsWith(path));
    await page.click(`#${button}`);
    const response = await started;
    assert.equal(response.status(), 200);
    const { seconds } = JSON.parse(response.request().postData());
    assert.ok(seconds <= 6, `${seconds} s`);
    // The page itself asks a few times a second; a burst is many more.
    const atLeast = button === "burst" ? 50 : 3;
    await page.waitForFunction(
      (least) => [...document.getElementById("histogram").getAttribute("aria-label").matchAll(/stage \d (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0) >= least,
      atLeast,
    );
    assert.match(await page.textContent("#load-caption"), /^Which stage answered, of \d+ requests/);
    assert.match(await page.textContent("#numbers"), /\d+in time a second/);
    await page.waitForFunction(([id, before]) => document.getElementById(id).textContent === before, [button, words]);
    assert.equal(await page.isEnabled(`#${button}`), true);
    // Where the machine is so busy that even the first stage cannot be in time, the server says so.
    assert.deepEqual(page.problems.filter((problem) => !/ 50[34] /.test(problem)), []);
    await page.context().close();
  });
