import fc from 'fast-check';
import { expect, test } from 'vitest';
import { digestOf, type Pixels, resizeBilinear } from '../../../src/core/index.ts';

/** Rows of RGB pixels. */
function pictureOf(rows: number[][][]): Pixels {
  return { width: rows[0]!.length, height: rows.length, channels: 3, data: Uint8Array.from(rows.flat(2)) };
}

const picture = ({ maxSide }: { maxSide: number }): fc.Arbitrary<Pixels> =>
  fc
    .record({ width: fc.integer({ min: 1, max: maxSide }), height: fc.integer({ min: 1, max: maxSide }), channels: fc.constantFrom(3, 4) })
    .chain(({ width, height, channels }) => {
      const length = width * height * channels;
      return fc
        .uint8Array({ minLength: length, maxLength: length, size: 'max' })
        .map((bytes): Pixels => ({ width, height, channels, data: new Uint8Array(bytes) }));
    });

const side = fc.integer({ min: 1, max: 40 });

function rgbOf({ channels, data }: Pixels): number[] {
  return [...data].filter((_, index) => channels === 3 || index % 4 !== 3);
}

// Digests of `Image.fromarray(a).resize((to_w, to_h), Image.BILINEAR).tobytes()` by Pillow 11.3.0 on x86_64, where
// y, x, c = numpy.mgrid[0:h, 0:w, 0:3]; a = ((x*x*3 + y*y*5 + x*y*7 + c*91) % 256).astype(numpy.uint8)
test.each([
  [1, 1, 3, 2, 'sha256:67d7685820f9faa1535ce1349b1b8eee7364d9b962f4b7848698cef1e8b84e7f'],
  [1, 9, 4, 3, 'sha256:eb599efd72113b47b2c983b6207c22cb1f7bdfd75023a433003e39452c92b331'],
  [9, 1, 3, 4, 'sha256:ea3d16b0e5f05ad57f53d7908f56af8e1ac6b44566bb8ba2ebbdeb0c1f47c8b9'],
  [3, 2, 7, 5, 'sha256:cfbfe5a5942f966a5a40935568234857b0306ad369664897062051371ee54bd9'],
  [17, 33, 32, 31, 'sha256:054a59764e425fb9e442e59aff644cdf872e94e8917c6636da41711e1a99351d'],
  [64, 48, 33, 17, 'sha256:67e04d48b27e0357f555cbca8dacfb7eb34a57e6aaf1d39e6237830596872cdf'],
  [101, 57, 64, 48, 'sha256:ceef086d7a940e650fd9779f18d40d970a846924b74a907335d1cec3c3093bed'],
  [255, 256, 224, 224, 'sha256:dc3e49361f12f9ab614ca5d7332519422c876fafdc2ac0ffa2254eaace8895dd'],
  [640, 427, 384, 256, 'sha256:693253ccb05b51c1993e01946c58d30ac64dce771a268db19fcd80eccf5b0448'],
  [33, 700, 32, 64, 'sha256:9d5f7db6c4b045b03a097c106cc5d8c4c01cb16c2b5756ef1ea91105d26a2f30'],
  [700, 33, 64, 32, 'sha256:cf3745e1d20978f213b4678861f92359a096d676bf14100ea82fc54a20bc900f'],
])('gives the bytes of Pillow from %ix%i to %ix%i', async (width, height, toWidth, toHeight, digest) => {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, index) => {
    const c = index % 3;
    const x = Math.floor(index / 3) % width;
    const y = Math.floor(index / 3 / width);
    return (x * x * 3 + y * y * 5 + x * y * 7 + c * 91) % 256;
  });

  const resized = resizeBilinear({ width, height, channels: 3, data }, { width: toWidth, height: toHeight });

  expect(await digestOf(resized.data)).toBe(digest);
});

// numpy.asarray(Image.fromarray(a).resize(size, Image.BILINEAR)).tolist(), Pillow 11.3.0
test('gives the numbers of Pillow when shrinking and when enlarging', () => {
  const [first, second] = [
    [0, 0, 0, 255, 255, 255, 10, 20, 30, 40, 50, 60, 90, 80, 70],
    [255, 0, 0, 0, 255, 0, 0, 0, 255, 1, 2, 3, 250, 251, 252],
  ];
  const wide: Pixels = { width: 5, height: 2, channels: 3, data: Uint8Array.from([...first!, ...second!]) };
  const narrow = pictureOf([[[0, 0, 0]], [[255, 0, 0]]]);

  const shrunk = resizeBilinear(wide, { width: 2, height: 2 });
  const enlarged = resizeBilinear(narrow, { width: 1, height: 5 });

  expect([...shrunk.data]).toEqual([108, 111, 114, 59, 62, 65, 81, 104, 58, 80, 92, 139]);
  expect([...enlarged.data]).toEqual([0, 0, 0, 25, 0, 0, 128, 0, 0, 230, 0, 0, 255, 0, 0]);
});

test('keeps a picture that already has the size', () => {
  fc.assert(
    fc.property(picture({ maxSide: 20 }), (pixels) => {
      const same = resizeBilinear(pixels, pixels);

      expect([...same.data]).toEqual(rgbOf(pixels));
    }),
  );
});

test('cuts a region out of a picture that already has the size', () => {
  const rows = [
    [
      [1, 2, 3, 9],
      [4, 5, 6, 9],
      [7, 8, 9, 9],
    ],
    [
      [11, 12, 13, 9],
      [14, 15, 16, 9],
      [17, 18, 19, 9],
    ],
  ];
  const pixels: Pixels = { width: 3, height: 2, channels: 4, data: Uint8Array.from(rows.flat(2)) };

  const cut = resizeBilinear(pixels, pixels, { left: 1, top: 1, width: 2, height: 1 });

  expect(cut).toEqual({ width: 2, height: 1, data: Uint8Array.of(14, 15, 16, 17, 18, 19) });
});

test('keeps one colour one colour, at any size', () => {
  fc.assert(
    fc.property(side, side, side, side, fc.nat(255), (width, height, toWidth, toHeight, value) => {
      const data = new Uint8Array(width * height * 3).fill(value);

      const resized = resizeBilinear({ width, height, channels: 3, data }, { width: toWidth, height: toHeight });

      expect(resized.data).toEqual(new Uint8Array(toWidth * toHeight * 3).fill(value));
    }),
  );
});

test('stays between the darkest and the brightest pixel', () => {
  fc.assert(
    fc.property(picture({ maxSide: 20 }), side, side, (pixels, width, height) => {
      const { data } = resizeBilinear(pixels, { width, height });

      expect(Math.min(...data)).toBeGreaterThanOrEqual(Math.min(...rgbOf(pixels)));
      expect(Math.max(...data)).toBeLessThanOrEqual(Math.max(...rgbOf(pixels)));
    }),
  );
});

test('gives any region the bytes it has in the whole', () => {
  const region = fc.tuple(side, side, fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }));
  fc.assert(
    fc.property(picture({ maxSide: 30 }), region, (pixels, [width, height, x, y]) => {
      const left = Math.floor(x * (width - 1));
      const top = Math.floor(y * (height - 1));
      const part = { left, top, width: Math.ceil((width - left) / 2), height: Math.ceil((height - top) / 2) };
      const whole = resizeBilinear(pixels, { width, height });

      const cut = resizeBilinear(pixels, { width, height }, part);

      const rows = Array.from({ length: part.height }, (_, row) => {
        const start = ((top + row) * width + left) * 3;
        return [...whole.data.subarray(start, start + part.width * 3)];
      });
      expect(cut).toMatchObject({ width: part.width, height: part.height });
      expect([...cut.data]).toEqual(rows.flat());
    }),
  );
});

test('leaves alpha out and reads clamped arrays and views as it reads bytes', () => {
  const rgba = [9, 8, 7, 0, 200, 100, 50, 255, 3, 2, 1, 128];
  const padded = Uint8ClampedArray.from([77, ...rgba, 77]);
  const rgb = pictureOf([
    [
      [9, 8, 7],
      [200, 100, 50],
      [3, 2, 1],
    ],
  ]);

  const resized = resizeBilinear({ width: 3, height: 1, channels: 4, data: padded.subarray(1, 13) }, { width: 2, height: 2 });

  expect(resized).toEqual(resizeBilinear(rgb, { width: 2, height: 2 }));
});

// 5,590,000 weights between 0.5 and 1 of 2^-22 each round up to 1: together a third too much, as in Pillow.
test('clips where rounded weights add up to more than 1', () => {
  const width = 5_590_000;
  const white: Pixels = { width, height: 1, channels: 3, data: new Uint8Array(width * 3).fill(255) };

  const resized = resizeBilinear(white, { width: 1, height: 1 });

  expect([...resized.data]).toEqual([255, 255, 255]);
});
