// An exported folder behind a URL: its manifest, and files that are what the manifest says they are.

import { bytesOf } from "./engine.js";

const KINDS = ["classification", "hierarchical"];

/** What a page may know of a net, from `manifest.json`; throws an Error that says what is wrong with it. */
export function modelOf(manifest) {
  if (manifest?.format !== "anytimenet-export" || manifest.format_version !== 1)
    throw new Error("this is no exported folder that this version reads: export it again with anytimenet");
  if (manifest.kind !== "native")
    throw new Error(`the folder holds ${manifest.kind}: export it with --format native`);
  const { net } = manifest;
  if (!KINDS.includes(net.task.kind) || net.task.decoding !== "softmax")
    throw new Error(`a page shows classes, and this net is one for ${net.task.kind}`);
  const [channels, height, width] = net.input_shape;
  return {
    name: net.net?.name ?? "",
    stages: net.stages.map((stage, i) => ({
      macs: stage.macs,
      valAccuracy: stage.val_accuracy,
      bytes: manifest.weights[i].reduce((sum, name) => sum + manifest.files[name].bytes, 0),
    })),
    classNames: net.class_names,
    levels: net.level_selection?.levels ?? net.stages.map(() => 1),
    input: { height, width, channels },
    preprocessing: net.preprocessing,
  };
}

/** Fetches files of a folder one after the other.
 *
 * `throttle`: bytes a second; none by default. `onBytes(done, total)` counts the program and its weights. */
export class Folder {
  constructor(url, engine, { throttle = 0, onBytes = () => {}, signal } = {}) {
    this.url = new URL(url.endsWith("/") ? url : `${url}/`);
    this.engine = engine;
    this.throttle = throttle;
    this.onBytes = onBytes;
    this.signal = signal;
    this.done = 0;
  }

  async readManifest() {
    const data = await this.fetched("manifest.json", Infinity, () => {});
    let manifest;
    try {
      manifest = JSON.parse(new TextDecoder().decode(data));
    } catch {
      throw new Error(`${this.url}manifest.json is no JSON`);
    }
    const model = modelOf(manifest);
    this.files = manifest.files;
    const read = ["program.bin", ...manifest.weights.flat()]; // what is there for other hosts stays there
    this.total = read.reduce((sum, name) => sum + (this.files[name]?.bytes ?? 0), 0);
    return { manifest, model };
  }

  /** The bytes of a file that the manifest lists; throws an Error if they are not those. */
  async read(name) {
    const { bytes, sha256 } = this.files[name];
    const data = await this.fetched(name, bytes, (count) => {
      this.done += count;
      this.onBytes(this.done, this.total);
    });
    if (data.byteLength !== bytes || this.engine.sha256(data) !== sha256)
      throw new Error(`${name} is not the file that the manifest lists: fetch it again, or export the net again`);
    return data;
  }

  async fetched(name, most, came) {
    const url = new URL(name, this.url);
    if (!url.href.startsWith(this.url.href)) throw new Error(`${name} lies outside of the folder`);
    if (url.protocol === "file:") return this.local(url, came);
    const response = await fetch(url, { signal: this.signal });
    if (!response.ok) throw new Error(`${url} cannot be fetched: ${response.status} ${response.statusText}`);
    const reader = response.body.getReader(), parts = [];
    let size = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      size += part.value.byteLength;
      if (size > most) {
        await reader.cancel();
        throw new Error(`${name} is longer than the manifest says`);
      }
      parts.push(part.value);
      await this.paced(part.value.byteLength, came);
    }
    const data = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      data.set(part, at);
      at += part.byteLength;
    }
    return data;
  }

  // A file of this machine, in Node.
  async local(url, came) {
    const data = await bytesOf(url);
    await this.paced(data.byteLength, came);
    return data;
  }

  // Tells that bytes came; with a throttle no sooner than it lets them, and in pieces of a twentieth of a second.
  async paced(count, came) {
    for (let left = count; left > 0; ) {
      const piece = this.throttle ? Math.min(left, Math.max(1, this.throttle / 20)) : left;
      left -= piece;
      if (this.throttle) {
        this.due = Math.max(this.due ?? 0, performance.now() - 100) + (1000 * piece) / this.throttle;
        await new Promise((resolve) => setTimeout(resolve, this.due - performance.now()));
        this.signal?.throwIfAborted();
      }
      came(piece);
    }
  }
}
