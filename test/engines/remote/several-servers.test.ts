import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Pin, ServerTarget } from '../../../src/core/index.ts';
import { classifyOnServer, isReadyOnServer } from '../../../src/engines/index.ts';
import { createBalance } from '../../../src/engines/remote/balance.ts';
import { manifest, otherPin, pin } from '../../sdk/stand-in-workers.ts';

// A roll-out in the middle: servers under one name of which some have the version already, and some no longer.

const toldDeadlines: number[] = [];
const refusal = JSON.stringify({ error: 'another version', code: 'version-mismatch', details: { got: otherPin.digest } });
const answer = JSON.stringify({ predictions: [{ label: 'cat', index: 0, score: 1 }] });
const named = ({ version, digest }: Pin) => ({ 'nearfar-model-version': version, 'nearfar-model-digest': digest });
const visits = new Map<string, number>();
const server = createServer((request, response) => {
  const path = request.url?.split('/')[1] ?? '';
  visits.set(path, (visits.get(path) ?? 0) + 1);
  const has = request.url?.startsWith('/ahead') ? otherPin : pin;
  if (request.url?.startsWith('/black-hole')) return;
  if (request.headers['nearfar-deadline-ms'] !== undefined) toldDeadlines.push(Number(request.headers['nearfar-deadline-ms']));
  if (request.url?.startsWith('/refuses')) response.writeHead(409).end(refusal);
  else if (request.url?.startsWith('/behind')) response.writeHead(404).end();
  else if (request.url?.startsWith('/full')) response.writeHead(503, { 'retry-after': '2' }).end();
  else if (request.url?.startsWith('/whole')) response.writeHead(200, named(pin)).end(answer);
  else response.writeHead(200, named(has)).end();
});
let base: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function targetAt(...paths: string[]): ServerTarget {
  return { servers: paths.map((path) => `${base}/${path}`), name: 'tiny', pin, manifest };
}

test('a server that does not have the version leaves the call to the next one', async () => {
  expect(await isReadyOnServer(targetAt('behind', 'ahead', 'right'), { fetch })).toBe(true);
});

test('no server is taken for one that has the version', async () => {
  const ready = isReadyOnServer(targetAt('behind', 'ahead'), { fetch });

  await expect(ready.catch(() => false)).resolves.toBe(false);
});

test('a server that never answers has a share of the deadline, and the next one is asked in what is left', async () => {
  const image = { width: 1, height: 1, data: new Uint8Array(3) };
  const asking = classifyOnServer(targetAt('black-hole', 'right'), { callId: 1, image, topK: 1, deadlineMs: 400 }, { fetch });

  // The stand-in answers without a body: what counts is that it was asked.
  await expect(asking).rejects.toMatchObject({ code: 'internal' });
  expect(toldDeadlines).toHaveLength(1);
  expect(toldDeadlines[0]).toBeLessThanOrEqual(201);
  expect(toldDeadlines[0]).toBeGreaterThan(0);
});

test('the failure of several servers keeps the details of the most telling one', async () => {
  const image = { width: 1, height: 1, data: new Uint8Array(3) };
  const asking = classifyOnServer(targetAt('refuses', 'refuses'), { callId: 1, image, topK: 1 }, { fetch });

  await expect(asking).rejects.toMatchObject({
    code: 'version-mismatch',
    details: { got: otherPin.digest, servers: [{ code: 'version-mismatch' }, { code: 'version-mismatch' }] },
  });
});

test('an answer says which servers failed before it, and why; nothing where the first one answered', async () => {
  const image = { width: 1, height: 1, data: new Uint8Array(3) };
  const classify = (...paths: string[]) => classifyOnServer(targetAt(...paths), { callId: 1, image, topK: 1 }, { fetch });

  const late = await classify('behind', 'refuses', 'whole');
  const first = await classify('whole', 'behind');

  expect(late).toMatchObject({ answer: { predictions: [{ label: 'cat' }] } });
  expect(late.retries).toEqual([
    { url: `${base}/behind`, attempt: 1, code: 'not-found', message: expect.stringContaining('404') },
    { url: `${base}/refuses`, attempt: 2, code: 'version-mismatch', message: 'another version' },
  ]);
  expect(first).not.toHaveProperty('retries');
});

test('what was learnt of the servers stays: one that named a time is left alone until then, one that lacks the version comes last', async () => {
  let now = 0;
  const balance = createBalance({ now: () => now, random: () => 0 });
  const image = { width: 1, height: 1, data: new Uint8Array(3) };
  const classify = (...paths: string[]) =>
    classifyOnServer({ ...targetAt(...paths), policy: 'in-order' }, { callId: 1, image, topK: 1 }, { fetch, balance });
  visits.clear();

  const first = await classify('full', 'refuses', 'whole');
  const second = await classify('full', 'refuses', 'whole');
  const alone = await classify('full').catch((error) => error);
  const before = visits.get('full');
  now = 2_000;
  await classify('full', 'refuses', 'whole');

  expect(first.retries?.map(({ code }) => code)).toEqual(['unavailable', 'version-mismatch']);
  expect(second).not.toHaveProperty('retries');
  expect(alone).toMatchObject({ code: 'unavailable', details: { retryAfterMs: 2_000 } });
  expect(before).toBe(1);
  expect(visits.get('full')).toBe(2);
  expect(visits.get('refuses')).toBe(1);
});

test('where most calls fail no more than the budget of them is tried on a second server', async () => {
  const balance = createBalance({ now: () => 0, random: () => 0 });
  const image = { width: 1, height: 1, data: new Uint8Array(3) };
  const target = { ...targetAt('behind', 'refuses'), policy: 'in-order' } as const;
  visits.clear();

  for (let call = 0; call < 40; call += 1)
    await classifyOnServer(target, { callId: 1, image, topK: 1 }, { fetch, balance }).catch(() => {});

  // Ten at first, and a fifth of each call but the first, which finds the budget full.
  expect((visits.get('behind') ?? 0) + (visits.get('refuses') ?? 0)).toBe(40 + 17);
});
