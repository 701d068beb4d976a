import { join } from 'node:path';
import { type RunningServer, type ServerOptions, startServer } from '../../../src/server/index.ts';
import { createApiKey, type Role, roles, type StoredKey, writeApiKeys } from '../../../src/server/security/index.ts';
import { openTempFolder } from '../../support/model-folder.ts';

/** A server on real sockets whose callers have to say who they are, and a key of each role. */
export interface GuardedServer extends AsyncDisposable {
  readonly server: RunningServer;
  readonly folder: string;
  readonly keysFile: string;
  readonly stored: readonly StoredKey[];
  readonly keys: Readonly<Record<Role, string>>;
}

export async function openGuardedServer(
  options: ServerOptions = {},
  limits: Partial<Pick<StoredKey, 'models' | 'rateLimit' | 'dailyQuota'>> = {},
): Promise<GuardedServer> {
  const folder = await openTempFolder();
  const keysFile = join(folder.path, 'keys.json');
  const made = roles.map((role) => ({ role, ...createApiKey({ name: `the-${role}`, roles: [role], ...limits }) }));
  const stored = made.map((each) => each.stored);
  await writeApiKeys(keysFile, stored);
  const server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: folder.path,
    cacheDir: join(folder.path, 'cache'),
    logLevel: 'silent',
    lameDuckMs: 0,
    ...options,
    authentication: { apiKeysFile: keysFile, ...options.authentication },
  });
  return {
    server,
    folder: folder.path,
    keysFile,
    stored,
    keys: Object.fromEntries(made.map(({ role, key }) => [role, key])) as Record<Role, string>,
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}
