import { expect, test } from 'vitest';
import { deferralOf, type Surroundings } from '../../src/core/index.ts';

test.each<[string, Surroundings]>([
  ['saves data', { saveData: true, effectiveType: '4g' }],
  ['may be metered', { type: 'cellular', effectiveType: '4g' }],
  ['slow-2g', { effectiveType: 'slow-2g' }],
  ['2g', { effectiveType: '2g' }],
  ['3g', { type: 'wifi', effectiveType: '3g' }],
  ['battery', { battery: { level: 0.1, charging: false } }],
])('a download waits where %s', (_, surroundings) => {
  expect(deferralOf(surroundings)).toMatchObject({
    code: 'download-deferred',
    message: expect.stringMatching(/^the model is not downloaded: /),
  });
});

test.each<Surroundings>([
  {},
  { saveData: false, effectiveType: '4g', type: 'wifi', battery: { level: 1, charging: true } },
  { battery: { level: 0.1, charging: true } },
  { battery: { level: 0.2, charging: false } },
  { type: 'unknown' },
])('a download need not wait with %o', (surroundings) => {
  expect(deferralOf(surroundings)).toBeUndefined();
});
