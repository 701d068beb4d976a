import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { startServer } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';

beforeAll(() => build());

test('nearfar keys makes a key that is shown once, lists it without its secret and takes it back', async () => {
  await using folder = await openTempFolder();
  const file = join(folder.path, 'keys.json');
  const nearfar = (args: readonly string[], env: Record<string, string> = {}) =>
    runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), ...args], { env });

  const made = await nearfar(['keys', 'create', 'ci', '--role', 'read', '--role', 'predict', '--daily-quota', '10', '--file', file]);
  const key = made.stdout.trim();
  await using server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: folder.path,
    logLevel: 'silent',
    authentication: { apiKeysFile: file },
  });
  const url = server.restAddress ?? '';
  const [again, listed, withKey, without] = await Promise.all([
    nearfar(['keys', 'create', 'ci', '--role', 'read', '--file', file]),
    nearfar(['keys', 'list', '--file', file]),
    nearfar(['status', '--url', url], { NEARFAR_API_KEY: key }),
    nearfar(['status', '--url', url]),
  ]);
  const revoked = await nearfar(['keys', 'revoke', 'ci', '--file', file]);

  expect(key).toMatch(/^nfk_[\da-f]{12}_[\w-]{43}$/);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect([again.status, again.stderr]).toEqual([1, expect.stringContaining('has a key ci already (already-exists)')]);
  expect(listed.stdout).toContain('read, predict');
  expect(listed.stdout).toContain('10/day');
  expect(listed.stdout).not.toContain(key.slice(17));
  expect([withKey.status, without.status]).toEqual([0, 1]);
  expect(without.stderr).toContain('unauthenticated');
  expect(revoked.status).toBe(0);
  expect(JSON.parse(await readFile(file, 'utf8')).keys).toEqual([]);
});
