// Pictures of the net's own data, as buttons. samples/samples.json lists them; without it there are none.

/** Returns [{file, label}], or nothing where the list is missing. */
export async function listed(signal) {
  const response = await fetch("samples/samples.json", { signal }).catch(() => null);
  if (!response?.ok) return [];
  return (await response.json()).samples;
}

/** Draws them into `list`; `take(blob, sample, index)` when one is pressed. Returns a function that presses one. */
export function show(list, samples, take) {
  list.hidden = samples.length === 0;
  const press = async (index) => {
    const sample = samples[index];
    if (!sample) return;
    const response = await fetch(`samples/${sample.file}`);
    if (response.ok) take(await response.blob(), sample, index);
  };
  list.replaceChildren(
    ...samples.map((sample, index) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-label", `Sample ${index + 1}: ${sample.label ?? sample.file}`);
      const picture = document.createElement("img");
      Object.assign(picture, { src: `samples/${sample.file}`, alt: "", width: 48, height: 48, loading: "lazy" });
      button.append(picture);
      button.addEventListener("click", () => press(index));
      item.append(button);
      return item;
    }),
  );
  return press;
}

/** Marks the sample that is on screen; null for none. */
export function mark(list, index) {
  [...list.querySelectorAll("button")].forEach((button, i) => button.setAttribute("aria-pressed", i === index));
}
