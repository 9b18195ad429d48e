// From logits to answers, by the rules of anytimenet/core/answers: which stage stands, and what it says.

/** The stage whose answer stands once these are finished, in their order; 0 if none is.
 *
 * The best validated one, of equal ones the first; where none was validated the last. `validated`: a score for each
 * stage, null for none. As in core/answers/standing.py. */
export function standingStage(finished, validated) {
  let best = 0;
  const score = (stage) => validated[stage - 1] ?? NaN;
  for (const stage of finished) if (score(stage) > (best ? score(best) : -Infinity)) best = stage;
  return best || Math.max(0, ...finished);
}

/** Probabilities of logits, safe for large ones. */
export function softmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const exponentials = Float64Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = exponentials.reduce((a, b) => a + b);
  return exponentials.map((value) => value / sum);
}

/** What a stage says of an image, or null if not all its numbers are finite.
 *
 * `logits`: all label levels one after the other, the fine one first. Gives {stage, stages, label, labels, level,
 * probability, probabilities}. */
export function answerOf(model, stage, logits) {
  if (!logits.every(Number.isFinite)) return null;
  const probabilities = [], labels = [];
  let begin = 0;
  for (const names of model.classNames) {
    const found = softmax(logits.subarray(begin, (begin += names.length)));
    labels.push(names[found.indexOf(found.reduce((a, b) => Math.max(a, b)))]);
    probabilities.push(Float32Array.from(found));
  }
  const level = model.levels[stage - 1];
  const probability = probabilities[level - 1].reduce((a, b) => Math.max(a, b));
  return { stage, stages: model.stages.length, label: labels[level - 1], labels, level, probability, probabilities };
}
