/** What turns a model's raw output into scores, as the manifest names it. */
export type Activation = 'none' | 'softmax' | 'sigmoid';

/**
 * Applies an activation to rows of scores, in doubles, rounded once to float32.
 * @param classes Length of a row; softmax makes each row sum to 1.
 * @returns A new array; the input itself for `none`.
 */
export function activate(scores: Float32Array, activation: Activation, classes: number): Float32Array {
  switch (activation) {
    case 'none':
      return scores;
    case 'softmax':
      return softmax(scores, classes);
    case 'sigmoid':
      return sigmoid(scores);
  }
}

/**
 * `exp(x_i) / Σ exp(x_j)` per row. A row that holds NaN or +∞, or nothing but −∞, has no softmax: its values are NaN.
 * @param classes Length of a row.
 */
export function softmax(logits: Float32Array, classes: number): Float32Array {
  const out = new Float32Array(logits.length);
  const exponentials = new Float64Array(classes);
  for (let start = 0; start < logits.length; start += classes) {
    let max = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < classes; index++) max = Math.max(max, logits[start + index]!);
    let sum = 0;
    for (let index = 0; index < classes; index++) {
      // exp() overflows doubles above 709, so shift each row to a maximum of 0
      const exponential = Math.exp(logits[start + index]! - max);
      exponentials[index] = exponential;
      sum += exponential;
    }
    for (let index = 0; index < classes; index++) out[start + index] = exponentials[index]! / sum;
  }
  return out;
}

/** `1 / (1 + exp(−x))` per element; exp() overflowing to +∞ gives the right 0. */
export function sigmoid(logits: Float32Array): Float32Array {
  return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
}
