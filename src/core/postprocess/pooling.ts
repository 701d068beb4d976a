/** A vector of length 1 in its direction, in doubles, rounded once; one shorter than 1e-12 is divided by that, as PyTorch's `normalize`. */
export function normaliseLength(vector: Float32Array): Float32Array {
  const length = Math.max(1e-12, Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0)));
  return vector.map((value) => value / length);
}

/**
 * The mean of rows of one length, in doubles, rounded once.
 * @param isCounted Whether a row counts; all by default. Where none does the mean is 0.
 */
export function meanOfRows(rows: Float32Array, width: number, isCounted: (row: number) => boolean = () => true): Float32Array {
  const sums = new Float64Array(width);
  let count = 0;
  for (let row = 0; row * width < rows.length; row++) {
    if (!isCounted(row)) continue;
    count++;
    for (let index = 0; index < width; index++) sums[index] = sums[index]! + rows[row * width + index]!;
  }
  return Float32Array.from(sums, (sum) => (count === 0 ? 0 : sum / count));
}
