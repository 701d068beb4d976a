import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ServerTarget } from '../../../src/core/index.ts';
import { isReadyOnServer } from '../../../src/engines/index.ts';
import { manifest, otherPin, pin } from '../../sdk/stand-in-workers.ts';

// A roll-out in the middle: servers under one name of which some have the version already, and some no longer.

const server = createServer((request, response) => {
  const has = request.url?.startsWith('/ahead') ? otherPin : pin;
  if (request.url?.startsWith('/behind')) response.writeHead(404).end();
  else response.writeHead(200, { 'nearfar-model-version': has.version, 'nearfar-model-digest': has.digest }).end();
});
let base: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
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
