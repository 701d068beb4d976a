import { NearfarError, serializeError } from '../../core/index.ts';
import type { RunningServer, ServableStore, VersionStatus } from '../../server/index.ts';

// The process of a server under test: `nearfar serve` with the flags behind the version on its command line, on a free port of loopback. It tells its parent
// when the one model is there, or why it is not, and ends with it.

try {
  const { parseConfig, startServer } = await import('../../server/index.ts');
  const [version = '', ...flags] = process.argv.slice(2);
  const { config } = parseConfig(flags, {});
  const models = config.models.map((model) => ({ ...model, policy: { kind: 'specific', versions: [version] } as const }));
  const own = { host: '127.0.0.1', restPort: 0, grpcPort: 'off', historyFile: undefined, maxLoadRetries: 0 } as const;
  const server = await startServer({ ...config, ...own, models });
  process.on('disconnect', () => void server.close().finally(() => process.exit()));
  await Promise.race([server.whenReady(), rejectWhenLost(server)]);
  process.send?.({ address: server.restAddress });
} catch (error) {
  process.send?.({ error: serializeError(error) }, () => process.exit(1));
}

/** A version that does not load is given up, and `whenReady` would wait for another one. */
function rejectWhenLost({ servables }: RunningServer): Promise<never> {
  return new Promise((_, reject) => {
    servables.watch(() => {
      for (const { errorMessage, state } of servables.names().flatMap((name) => statusOf(servables, name))) {
        if (state === 'END' && errorMessage !== '') reject(new NearfarError('failed-precondition', errorMessage));
      }
    });
  });
}

/** Of a model that was not looked for yet nothing is known. */
function statusOf(servables: ServableStore, name: string): readonly VersionStatus[] {
  try {
    return servables.status({ name });
  } catch {
    return [];
  }
}
