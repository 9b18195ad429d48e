// hash_bytes.mjs: SHA-256 by the engine of so many equal bytes each.
import { instantiate } from "../../src/anytimenet/native/web/engine.js";
import { given } from "./browser.mjs";

const engine = await instantiate();
const found = (await given()).map((count) => engine.sha256(new Uint8Array(count).fill(count)));
process.stdout.write(JSON.stringify(found));
