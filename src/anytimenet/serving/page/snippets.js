// The exact calls for what is on screen. Keys stay with their owner: the place for one is named, no more.

/** {curl, python} for a server, {javascript, python} for a static site. */
export function snippets({ kind, model, deadlineMs, picture, key, base = location.href }) {
  const file = picture?.name || "photo.jpg";
  const deadline = Number(deadlineMs.toPrecision(3));
  if (kind === "browser") return forSite({ file, deadline, base });
  const address = new URL("v1/predict", base);
  address.search = new URLSearchParams({ model, deadline_ms: deadline });
  const type = picture?.blob.type || "image/jpeg";
  return {
    curl: [
      `curl ${quoted(address.href)} \\`,
      ...(key ? ['  -H "Authorization: Bearer $ANYTIMENET_KEY" \\'] : []),
      `  -H ${quoted(`Content-Type: ${type}`)} --data-binary ${quoted(`@${file}`)}`,
    ].join("\n"),
    python: [
      "import json, os, urllib.request".replace(key ? "" : "os, ", ""),
      "",
      `with open(${JSON.stringify(file)}, "rb") as file:`,
      `    headers = {"Content-Type": ${JSON.stringify(type)}}`,
      ...(key ? ['    headers["Authorization"] = "Bearer " + os.environ["ANYTIMENET_KEY"]'] : []),
      `    request = urllib.request.Request(${JSON.stringify(address.href)}, file.read(), headers)`,
      "with urllib.request.urlopen(request) as response:",
      "    answer = json.load(response)",
      'print(answer["label"], "says stage", answer["stage"], "of", answer["stages"])',
    ].join("\n"),
  };
}

function forSite({ file, deadline, base }) {
  const net = new URL("net", base).href;
  return {
    javascript: [
      `import { open } from ${JSON.stringify(new URL("engine/anytimenet.js", base).href)};`,
      "",
      `const net = await open(${JSON.stringify(net)});`,
      "const image = await createImageBitmap(file);",
      `for await (const answer of net.run(image, { deadlineMs: ${deadline} })) {`,
      "  console.log(answer.stage, answer.label, answer.elapsedMs);",
      "}",
    ].join("\n"),
    python: [
      "from anytimenet.runtime import load",
      "",
      `net = load(${JSON.stringify(net)})`,
      `print(net.predict(${JSON.stringify(file)}, deadline_ms=${deadline}))`,
    ].join("\n"),
  };
}

/** One word of a shell. */
const quoted = (word) => `'${word.replaceAll("'", `'\\''`)}'`;

/** Tabs over the snippets, along the pattern of ARIA: arrows move, one tab can be reached. */
export class SnippetView {
  constructor({ tabs, panel, code, copy }) {
    Object.assign(this, { tabs, panel, code, chosen: 0, found: {} });
    tabs.forEach((tab, i) => {
      tab.addEventListener("click", () => this.choose(i));
      tab.addEventListener("keydown", (event) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        event.stopPropagation();
        this.choose(1 - i);
        tabs[1 - i].focus();
      });
    });
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
      setTimeout(() => (copy.textContent = "Copy"), 1500);
    });
  }

  show(found) {
    this.found = found;
    const title = { curl: "curl", python: "Python", javascript: "JavaScript" };
    Object.keys(found).forEach((name, i) => (this.tabs[i].textContent = title[name]));
    this.choose(this.chosen);
  }

  choose(place) {
    this.chosen = place;
    this.tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === place));
      tab.tabIndex = i === place ? 0 : -1;
    });
    this.panel.setAttribute("aria-labelledby", this.tabs[place].id);
    this.code.textContent = Object.values(this.found)[place] ?? "";
  }
}
