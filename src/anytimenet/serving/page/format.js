// Numbers for people.

/** Milliseconds with as many digits as they deserve: 0.42 ms, 3.1 ms, 120 ms. */
export function ms(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  return `${value < 1 ? value.toFixed(2) : value < 20 ? value.toFixed(1) : Math.round(value)} ms`;
}

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

/** 64 kB, 3.4 MB. */
export function bytes(count) {
  return count < 1e6 ? `${Math.max(1, Math.round(count / 1e3))} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

/** The next number of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten at or above `value`. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((one) => one * power >= value * (1 - 1e-9)) * power;
}
