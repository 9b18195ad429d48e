// play_in_page.mjs CHROMIUM URL: the same in a page that is served at URL.
import { given, withPage } from "./browser.mjs";

const [, , chromium, url] = process.argv;
const scenario = await given();
await withPage(chromium, async (page) => {
  await page.goto(`${url}pages/empty.html`);
  return page.evaluate(
    async ([root, told]) => (await import(`${root}tests/scenarios.js`)).play({ ...told, root }),
    [url, scenario],
  );
});
