import { expect, test } from 'vitest';
import type { BackendId, ServerPolicy } from '../../src/core/index.ts';
import { type ClientOptions, resolveOptions } from '../../src/sdk/options.ts';

const base = 'https://app.example.com/photos/index.html';
const digest = `sha256:${'0'.repeat(64)}`;

test('fills in every default', () => {
  const options = resolveOptions({ models: '/models' }, base);

  expect(options).toEqual({
    repositories: ['https://app.example.com/models'],
    servers: [],
    trust: [],
    lock: undefined,
    createWorker: undefined,
    cacheBudgetBytes: 536_870_912,
    memoryBudgetBytes: 1_073_741_824,
    allowSoftwareAdapter: false,
    backends: ['tfjs-webgpu', 'onnx-webgpu', 'tfjs-wasm', 'onnx-wasm'],
    hangTimeoutMs: 10_000,
    openHangTimeoutMs: 60_000,
    serverTimeoutMs: 30_000,
  });
});

test('resolves relative URLs against the page, in order and without a slash at the end', () => {
  const options = resolveOptions({ models: ['models/', 'https://cdn.example.com/m'], server: '.' }, base);

  expect(options.repositories).toEqual(['https://app.example.com/photos/models', 'https://cdn.example.com/m']);
  expect(options.servers).toEqual(['https://app.example.com/photos']);
});

test('keeps the pins of a lock file', () => {
  const lock = { lockfileVersion: 1, models: { tiny: { version: '3', digest } } };

  expect(resolveOptions({ models: '/m', lock }, base).lock).toEqual(lock);
});

test.each<[string, ClientOptions]>([
  ['models', { models: [] }],
  ['models', { models: 'ftp://example.com' }],
  ['server', { models: '/m', server: 'http://' }],
  ['cacheBudgetBytes', { models: '/m', cacheBudgetBytes: -1 }],
  ['cacheBudgetBytes', { models: '/m', cacheBudgetBytes: Number.NaN }],
  ['memoryBudgetBytes', { models: '/m', memoryBudgetBytes: -1 }],
  ['hangTimeoutMs', { models: '/m', hangTimeoutMs: 0 }],
  ['serverPolicy', { models: '/m', serverPolicy: 'fastest' as ServerPolicy }],
  ['hedgeAfterMs', { models: '/m', hedgeAfterMs: -1 }],
  ['downloadOn', { models: '/m', downloadOn: 'wifi' as 'any' }],
  ['backends', { models: '/m', backends: [] }],
  ['backends', { models: '/m', backends: ['tfjs-foo' as BackendId] }],
  ['backends', { models: '/m', backends: ['tfjs-cuda' as BackendId] }],
  ['lock.models.tiny.version', { models: '/m', lock: { lockfileVersion: 1, models: { tiny: { version: '01', digest } } } }],
  ['lock.models.tiny.digest', { models: '/m', lock: { lockfileVersion: 1, models: { tiny: { version: '1', digest: 'sha256:12' } } } }],
])('names the option that is wrong: %s (%#)', (option, options) => {
  expect(() => resolveOptions(options, base)).toThrowError(
    expect.objectContaining({ code: 'invalid-argument', details: expect.objectContaining({ option }) }),
  );
});

test('takes trusted keys as PEM alone', () => {
  const pem = '-----BEGIN PUBLIC KEY-----\nMFkw…\n-----END PUBLIC KEY-----\n';

  expect(resolveOptions({ models: '/m', trust: [pem] }, base).trust).toEqual([pem]);
  expect(resolveOptions({ models: '/m' }, base).trust).toEqual([]);
  expect(() => resolveOptions({ models: '/m', trust: ['key'] }, base)).toThrowError(
    expect.objectContaining({ code: 'invalid-argument', details: { option: 'trust', want: 'public keys as PEM' } }),
  );
});

test('refuses a later lock file', () => {
  const lock = { lockfileVersion: 2, models: {} };

  expect(() => resolveOptions({ models: '/m', lock }, base)).toThrowError(expect.objectContaining({ code: 'unsupported' }));
});
