import type { Corners } from './suppression.ts';

/** What the four numbers of a box are: two corners, a corner and a size, or the centre and a size; x across, y down. */
export type BoxFormat = 'xyxy' | 'yxyx' | 'xywh' | 'cxcywh';

/** Boxes of any format as left, top, right, bottom. */
export function toCorners(boxes: Float32Array, format: BoxFormat): Corners {
  const corners = new Float32Array(boxes.length);
  for (let at = 0; at < boxes.length; at += 4) {
    const [a, b, c, d] = [boxes[at]!, boxes[at + 1]!, boxes[at + 2]!, boxes[at + 3]!];
    corners.set(cornersOf(format, a, b, c, d), at);
  }
  return corners;
}

function cornersOf(format: BoxFormat, a: number, b: number, c: number, d: number): readonly [number, number, number, number] {
  switch (format) {
    case 'xyxy':
      return [a, b, c, d];
    case 'yxyx':
      return [b, a, d, c];
    case 'xywh':
      return [a, b, a + c, b + d];
    case 'cxcywh':
      return [a - c / 2, b - d / 2, a + c / 2, b + d / 2];
  }
}
