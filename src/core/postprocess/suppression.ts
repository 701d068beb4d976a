/** Corners of boxes, four numbers each: x and y of one, then of the opposite. */
export type Corners = Float32Array;

export interface SuppressionOptions {
  /** A box that overlaps a better one by more is dropped: area of the intersection by that of the union. */
  readonly iouThreshold: number;
  /** Scores at or below are left out. @default −∞ */
  readonly scoreThreshold?: number;
  readonly maxBoxes: number;
}

/**
 * Keeps the best of boxes that overlap: `tf.image.non_max_suppression`, in float32 as its CPU kernel.
 * @returns Indices of the boxes kept, the highest score first, equal ones by lower index.
 */
export function suppressNonMax(
  corners: Corners,
  scores: Float32Array,
  { iouThreshold, scoreThreshold = Number.NEGATIVE_INFINITY, maxBoxes }: SuppressionOptions,
): number[] {
  const threshold = Math.fround(iouThreshold);
  const candidates = [...scores.keys()]
    .filter((index) => scores[index]! > Math.fround(scoreThreshold))
    .sort((a, b) => scores[b]! - scores[a]! || a - b);
  const kept: number[] = [];
  for (const candidate of candidates) {
    if (kept.length >= maxBoxes) break;
    if (kept.every((index) => intersectionOverUnion(corners, index, candidate) <= threshold)) kept.push(candidate);
  }
  return kept;
}

function intersectionOverUnion(corners: Corners, a: number, b: number): number {
  const { fround, min, max } = Math;
  const [ax, bx] = [4 * a, 4 * b];
  const [ay, by] = [ax + 1, bx + 1];
  const left = (at: number) => min(corners[at]!, corners[at + 2]!);
  const right = (at: number) => max(corners[at]!, corners[at + 2]!);
  const areaA = fround(fround(right(ax) - left(ax)) * fround(right(ay) - left(ay)));
  const areaB = fround(fround(right(bx) - left(bx)) * fround(right(by) - left(by)));
  if (areaA <= 0 || areaB <= 0) return 0;
  const width = max(0, fround(min(right(ax), right(bx)) - max(left(ax), left(bx))));
  const height = max(0, fround(min(right(ay), right(by)) - max(left(ay), left(by))));
  const intersection = fround(width * height);
  return fround(intersection / fround(fround(areaA + areaB) - intersection));
}
