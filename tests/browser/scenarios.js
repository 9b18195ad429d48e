// What a page does with a net, told as plain values: the same in Node and in a page. Each takes a URL of a folder and
// what a test gives.

async function load(root) {
  return import(root ? `${root}web/anytimenet.js` : "../../src/anytimenet/native/web/anytimenet.js");
}

function pixels({ data, width, height }) {
  return { data: Uint8ClampedArray.from(data), width, height };
}

const told = (answer) => ({ ...answer, probabilities: answer.probabilities.map((level) => Array.from(level)) });

async function all(answers) {
  const found = [];
  for await (const answer of answers) found.push(told(answer));
  return found;
}

async function whole(root, url, options) {
  const { open } = await load(root);
  const net = await open(url, options);
  await net.loaded;
  return net;
}

const scenarios = {
  async answers({ root, url, image, runs }) {
    const net = await whole(root, url), found = [];
    for (const options of runs) found.push(await all(net.run(pixels(image), options)));
    net.close();
    return { model: net.model, ready: net.ready, found };
  },

  async loading({ root, url, throttle }) {
    const { open } = await load(root), stages = [], bytes = [];
    const net = await open(url, {
      throttle,
      onStage: (ready, all) => stages.push([ready, all]),
      onBytes: (done, total) => bytes.push([done, total]),
    });
    const first = { ready: net.ready, bytes: bytes.at(-1) };
    const early = [];
    for await (const answer of net.run(new Float32Array(3 * 8 * 8).fill(1))) early.push(answer.stage);
    const readyThen = net.ready;
    await net.loaded;
    const late = [];
    for await (const answer of net.run(new Float32Array(3 * 8 * 8).fill(1))) late.push(answer.stage);
    net.close();
    return { first, early, readyThen, late, stages, bytes, failed: net.failed };
  },

  async failing({ root, url, image }) {
    const { open } = await load(root);
    let net;
    try {
      net = await open(url);
    } catch (error) {
      return { rejected: error.message };
    }
    await net.loaded;
    const answers = await all(net.run(pixels(image)));
    net.close();
    return { ready: net.ready, failed: net.failed?.message, stages: answers.map(({ stage, final }) => [stage, final]) };
  },

  async ending({ root, url, image }) {
    const net = await whole(root, url), given = pixels(image);
    // A signal ends the iteration with its reason, also one that came before.
    const controller = new AbortController();
    const run = net.run(given, { signal: controller.signal });
    const first = (await run.next()).value.stage;
    controller.abort(new Error("enough"));
    const reasons = [];
    for (const begin of [() => run.next(), () => net.run(given, { signal: controller.signal })]) {
      try {
        await begin();
        reasons.push(null);
      } catch (error) {
        reasons.push(error.message);
      }
    }
    // A new run ends the one before, which never tells a last answer unless it had come.
    const before = net.run(given), after = net.run(given);
    const [one, two] = await Promise.all([all(before), all(after)]);
    // One that is left early ends, too, and the next is whole.
    for await (const answer of net.run(given)) if (answer.stage === 1) break;
    const third = await all(net.run(given));
    const profile = net.profile({ seconds: 10 });
    const ended = profile.then(() => "measured", (error) => error.message);
    await all(net.run(given));
    const wrong = [];
    for (const begin of [
      () => net.run(given, { deadlineMs: -1 }),
      () => net.run(given, { deadlineMs: NaN }),
      () => net.run(given, { stop: 0 }),
      () => net.run(given, { stop: 1.5 }),
      () => net.run(new Float32Array(3)),
      () => net.run({ data: new Uint8ClampedArray(8), width: 1, height: 1 }),
      () => net.run(null),
      () => net.profile({ seconds: -1 }),
    ]) {
      try {
        begin();
        wrong.push(null);
      } catch (error) {
        wrong.push(error.constructor.name);
      }
    }
    const last = net.run(given);
    net.close();
    let closed = null;
    try {
      await all(last);
    } catch (error) {
      closed = error.message;
    }
    return { first, reasons, one, two, third, profile: await ended, wrong, closed };
  },

  async abandoning({ root, url }) {
    const { open } = await load(root), controller = new AbortController();
    const opening = open(url, { signal: controller.signal, throttle: 100 });
    controller.abort(new Error("not wanted"));
    try {
      await opening;
      return null;
    } catch (error) {
      return error.message;
    }
  },

  async profile({ root, url }) {
    const net = await whole(root, url);
    const found = await net.profile({ seconds: 0.2 });
    net.close();
    return found;
  },

  async pictures({ root, url, png, image }) {
    const net = await whole(root, url), found = {};
    const blob = await (await fetch(png)).blob();
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    found.imageData = await all(net.run(context.getImageData(0, 0, bitmap.width, bitmap.height)));
    found.bitmap = await all(net.run(bitmap));
    found.again = bitmap.width; // it is the page's still
    found.bytes = await all(net.run(pixels(image)));
    net.close();
    return found;
  },
};

export function play({ name, ...given }) {
  return scenarios[name](given);
}
