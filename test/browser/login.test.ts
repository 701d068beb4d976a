import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { openGuardedServer } from '../server/security/support.ts';
import { launchBrowser } from '../support/browser.ts';
import { freePort } from '../support/free-port.ts';
import { openOidcProvider } from '../support/oidc-provider.ts';

// A real browser at a real OpenID provider: whoever opens the page signs in there, and comes back to it.

test('the page is opened by a login at the provider, and no other page can use the session', async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  using provider = await openOidcProvider(`${url}/nearfar/v1/login/callback`);
  await using guarded = await openGuardedServer({
    restPort: port,
    grpcPort: 'off',
    authentication: {
      apiKeysFile: undefined,
      oidc: { issuer: provider.issuer, clientId: 'nearfar', publicUrl: url, roleClaim: 'groups', roles: { 'ml-ops': 'operate' } },
    },
  });
  const elsewhere = createServer((_, response) =>
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>Another</title>'),
  );
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  await using browser = await launchBrowser({ gpu: false });
  const page = await browser.newPage();

  await page.goto(`${url}/ui/`);
  const askedAt = new URL(page.url()).origin;
  await page.fill('[name=login]', 'olga');
  await page.fill('[name=password]', 'any');
  await page.click('[type=submit]');
  await page.waitForLoadState();
  // What the provider asks whether it may tell.
  await page.click('[type=submit]');
  await page.waitForURL(`${url}/ui/**`);
  const session = await page.evaluate(async () => (await fetch('/nearfar/v1/session')).json());
  const remove = (headers: Record<string, string>) =>
    page.evaluate(async (sent) => (await fetch('/nearfar/v1/models/m', { method: 'DELETE', headers: sent })).status, headers);
  const [forged, own] = [await remove({}), await remove({ 'nearfar-csrf': session.csrf })];
  const readable = await page.evaluate(() => document.cookie);
  // Of the same site, as ports make none: the browser would send the cookie.
  await page.goto(`http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/`);
  const foreign = await page.evaluate(async (address) => {
    const ask = (path: string, init: RequestInit) =>
      fetch(address + path, { credentials: 'include', ...init }).then(
        () => 'answered',
        () => 'blocked',
      );
    return [await ask('/nearfar/v1/history', {}), await ask('/nearfar/v1/models/m', { method: 'DELETE' })];
  }, url);

  expect(askedAt).toBe(provider.issuer);
  expect(session).toMatchObject({ authentication: true, name: 'user:olga (olga)', roles: ['operate', 'read'] });
  expect([forged, own, readable]).toEqual([403, 404, '']);
  expect(foreign).toEqual(['blocked', 'blocked']);
  expect(guarded.server.restAddress).toBe(url);
  elsewhere.close();
});
