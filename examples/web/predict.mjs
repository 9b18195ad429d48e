// node examples/web/predict.mjs FOLDER [DEADLINE_MS]: answers for a picture, from a folder that
// `anytimenet export --format native` wrote. The same module runs in a page; there a picture is an ImageBitmap.
import { pathToFileURL } from "node:url";
import process from "node:process";
import { open } from "../../src/anytimenet/native/web/anytimenet.js";

const [, , folder, deadline] = process.argv;
const net = await open(pathToFileURL(`${folder}/`));
await net.loaded;
if (net.failed) throw net.failed;

// A grey ramp, with four bytes a pixel as a canvas gives them.
const { height, width } = net.model.input;
const data = new Uint8ClampedArray(4 * height * width);
for (let i = 0; i < height * width; i++) data.fill((255 * (i % width)) / width, 4 * i, 4 * i + 3);
for (let i = 3; i < data.length; i += 4) data[i] = 255;

const options = deadline === undefined ? {} : { deadlineMs: Number(deadline) };
for await (const answer of net.run({ data, width, height }, options)) {
  const { stage, stages, label, probability, elapsedMs, late, final } = answer;
  const words = [`${stage}/${stages}`, label, probability.toFixed(3), `${elapsedMs.toFixed(1)} ms`];
  console.log([...words, late ? "late" : "", final ? "<- the answer" : ""].join("  "));
}
net.close();
