import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { noRedis, startRedis } from '../support/redis.ts';
import { Processes, type ServerProcess } from '../support/server-process.ts';

// Three servers, each a process of its own, and one real Redis for their answers.

if (noRedis !== undefined) console.warn(`skipped: ${noRedis}`);

/** A request that no other has the key of. */
let number = 0;
function nextBody(): string {
  number++;
  return JSON.stringify({ instances: [Array.from({ length: 32 }, () => Array.from({ length: 32 }, () => [number / 1000, 0, 0]))] });
}

async function ask({ rest }: ServerProcess, body: string) {
  const answer = await fetch(`http://127.0.0.1:${rest}/v1/models/everyday10:predict`, { method: 'POST', body });
  return { status: answer.status, cache: answer.headers.get('nearfar-cache'), text: await answer.text() };
}

/** Redis is asked in the background: at first, and after it was gone, its connection is not there yet. */
async function untilShared(servers: readonly ServerProcess[]): Promise<void> {
  for (const from of servers)
    for (const to of servers)
      if (from !== to)
        await vi.waitFor(
          async () => {
            const body = nextBody();
            await ask(from, body);
            expect((await ask(to, body)).cache).toBe('hit');
          },
          { timeout: 30_000, interval: 100 },
        );
}

describe.skipIf(noRedis !== undefined)('three servers with one Redis', () => {
  test('an answer that one has computed the others know, the same to the last byte', async () => {
    await using folder = await openTempFolder();
    await copyEveryday10(join(folder.path, 'models', 'everyday10'), '1');
    await using redis = await startRedis();
    await using processes = new Processes();
    const serve = () =>
      processes.serve(join(folder.path, 'models'), [`--result_cache_redis=${redis.url}`, '--result_cache_redis_timeout_ms=1000']);
    const servers = [await serve(), await serve(), await serve()];
    await untilShared(servers);

    const body = nextBody();
    const [first, second, third] = [await ask(servers[0]!, body), await ask(servers[1]!, body), await ask(servers[2]!, body)];

    expect(first).toMatchObject({ status: 200, cache: 'miss' });
    expect([second, third]).toEqual([
      { ...first, cache: 'hit' },
      { ...first, cache: 'hit' },
    ]);
  });

  test('a Redis that is killed under load fails nothing, and is shared again when it is back', async () => {
    await using folder = await openTempFolder();
    await copyEveryday10(join(folder.path, 'models', 'everyday10'), '1');
    const redis = await startRedis();
    await using processes = new Processes();
    const serve = () => processes.serve(join(folder.path, 'models'), [`--result_cache_redis=${redis.url}`]);
    const servers = [await serve(), await serve(), await serve()];
    await untilShared(servers);

    const statuses = new Map<number, number>();
    let isDone = false;
    const caller = async (server: ServerProcess) => {
      while (!isDone) {
        const { status } = await ask(server, nextBody());
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    };
    const callers = servers.map(caller);
    const answered = () => statuses.get(200) ?? 0;
    await vi.waitFor(() => expect(answered()).toBeGreaterThan(50), { timeout: 30_000 });
    await redis.stop();
    const before = answered();
    await vi.waitFor(() => expect(answered()).toBeGreaterThan(before + 200), { timeout: 60_000 });
    await using again = await startRedis(Number(new URL(redis.url).port));
    isDone = true;
    await Promise.all(callers);

    expect([...statuses.keys()]).toEqual([200]);
    await untilShared(servers);
    expect(again.url).toBe(redis.url);
  });
});
