import fc from 'fast-check';
import { expect, test } from 'vitest';
import { centreCrop, sizeByShorterSide } from '../../../src/core/index.ts';

const side = fc.integer({ min: 1, max: 20_000 });

test('makes the shorter side exact and rounds the longer one', () => {
  expect(sizeByShorterSide({ width: 640, height: 427 }, 256)).toEqual({ width: 384, height: 256 });
  expect(sizeByShorterSide({ width: 275, height: 183 }, 256)).toEqual({ width: 385, height: 256 });
  expect(sizeByShorterSide({ width: 1, height: 3 }, 224)).toEqual({ width: 224, height: 672 });
  fc.assert(
    fc.property(side, side, fc.integer({ min: 1, max: 2000 }), (width, height, shorter) => {
      const size = sizeByShorterSide({ width, height }, shorter);

      expect(Math.min(size.width, size.height)).toBe(shorter);
    }),
  );
});

test('crops the middle, the odd pixel on the right and at the bottom', () => {
  expect(centreCrop({ width: 385, height: 257 }, { width: 224, height: 224 })).toEqual({ left: 80, top: 16, width: 224, height: 224 });
  expect(centreCrop({ width: 5, height: 4 }, { width: 5, height: 4 })).toEqual({ left: 0, top: 0, width: 5, height: 4 });
});

test('refuses a crop larger than the picture', () => {
  const crop = () => centreCrop({ width: 256, height: 200 }, { width: 224, height: 224 });

  expect(crop).toThrow(expect.objectContaining({ code: 'shape-mismatch', details: { want: [224, 224], got: [200, 256] } }));
});
