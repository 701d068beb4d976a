import { NearfarError } from '../errors.ts';

/**
 * Indices of the highest scores, highest first; equal scores by lower index.
 * @param scores One row.
 * @param k How many; more than there are scores means all.
 * @param output Name of the model output, for the error.
 * @throws {NearfarError} `invalid-argument` when `k` is no whole number ≥ 1; `internal` when a score is NaN, since any order
 * of such scores would be made up.
 */
export function topK(scores: Float32Array, k: number, output = 'scores'): number[] {
  if (!Number.isSafeInteger(k) || k < 1) {
    throw new NearfarError('invalid-argument', `topK is a whole number of at least 1, got ${k}`, { details: { got: k } });
  }
  const invalid = scores.findIndex(Number.isNaN);
  if (invalid !== -1) {
    throw new NearfarError('internal', `model output "${output}" holds NaN at index ${invalid} of ${scores.length}`, {
      details: { output, index: invalid },
    });
  }
  // Sorting a thousand classes for their five best takes 0.2 ms, longer than small models run.
  if (k <= fewest) return selectBest(scores, k);
  return [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b).slice(0, k);
}

/** Up to this many, inserting into a short list is faster than sorting all. */
const fewest = 32;

function selectBest(scores: Float32Array, k: number): number[] {
  const best: number[] = [];
  for (let index = 0; index < scores.length; index++) {
    const score = scores[index]!;
    if (best.length === k && score <= scores[best[k - 1]!]!) continue;
    let place = best.length < k ? best.length : k - 1;
    for (; place > 0 && score > scores[best[place - 1]!]!; place--) best[place] = best[place - 1]!;
    best[place] = index;
  }
  return best;
}
