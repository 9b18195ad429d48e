// play_in_node.mjs: the scenario that is given on standard input.
import { given } from "./browser.mjs";
import { play } from "./scenarios.js";

process.stdout.write(JSON.stringify(await play(await given())));
