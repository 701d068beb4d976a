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
  return [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b).slice(0, k);
}
