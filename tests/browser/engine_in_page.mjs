// engine_in_page.mjs CHROMIUM URL: loads the engine in a page served at URL and runs a program there.
import { given, withPage } from "./browser.mjs";

const [, , chromium, url] = process.argv;
const { x } = await given();
await withPage(chromium, async (page) => {
  await page.goto(`${url}pages/empty.html`);
  return page.evaluate(async ([root, numbers]) => {
    const { instantiate } = await import(`${root}web/engine.js`);
    const read = async (name) => new Uint8Array(await (await fetch(`${root}net/${name}`)).arrayBuffer());
    const { weights } = await (await fetch(`${root}net/manifest.json`)).json();
    const engine = await instantiate();
    const program = engine.load(await read("program.bin"), await Promise.all(weights.flat().map(read)));
    const session = program.session({ poison: true });
    session.begin(Float32Array.from(numbers));
    session.run(program.stages);
    return Array.from(session.output(program.stages));
  }, [url, x]);
});
