// What is on screen, in the address: a link shows the same. A key is never part of it.

const NAMES = ["model", "deadline", "sample", "stage", "throttle"];

/** The state that the address tells; what it does not tell is absent. */
export function fromAddress(search = location.search) {
  const query = new URLSearchParams(search);
  return Object.fromEntries(NAMES.filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
}

/** Changes some of the state; null takes a name out. */
export function intoAddress(changes) {
  const url = new URL(location.href);
  for (const name of NAMES) {
    if (!(name in changes)) continue;
    if (changes[name] == null) url.searchParams.delete(name);
    else url.searchParams.set(name, changes[name]);
  }
  if (url.href !== location.href) history.replaceState(null, "", url);
}
