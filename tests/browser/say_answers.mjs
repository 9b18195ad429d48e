// say_answers.mjs: what answers.js says of each case {finished, validated} or {model, stage, logits}.
import { answerOf, standingStage } from "../../src/anytimenet/native/web/answers.js";
import { given } from "./browser.mjs";

const found = (await given()).map(({ finished, validated, model, stage, logits }) => {
  if (finished) return standingStage(finished, validated);
  const numbers = Float32Array.from(logits, (logit) => logit ?? NaN);
  const answer = answerOf(model, stage, numbers);
  return answer && { ...answer, probabilities: answer.probabilities.map((level) => Array.from(level)) };
});
process.stdout.write(JSON.stringify(found));
