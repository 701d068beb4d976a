import { writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { publish } from '../../src/publish/index.ts';
import { startServer } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';

const requests = 100_000;

test('100,000 requests over HTTP are split within 1 % of the whole, and after a rollback within two seconds all have stable', async () => {
  await using folder = await openTempFolder();
  for (const [index, factor] of [2, 3].entries()) {
    const source = join(folder.path, `${index}.onnx`);
    await writeFile(source, scalingModel(factor));
    await publish([source], { repository: join(folder.path, 'models'), name: 'm', labels: index === 1 ? ['canary'] : [] });
  }
  await using server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    backends: ['onnx-cpu'],
    engineThreads: 1,
    modelsRoot: join(folder.path, 'models'),
    cacheDir: join(folder.path, 'cache'),
    logLevel: 'silent',
  });
  await server.whenReady();
  const url = new URL(server.restAddress ?? '');
  const put = (body: object) => fetch(`${url.origin}/nearfar/v1/models/m/traffic`, { method: 'PUT', body: JSON.stringify(body) });
  expect((await put({ stable: 90, canary: 10 })).status).toBe(200);

  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  const body = '{"instances":[[1,2,3]]}';
  const ask = (client: string) =>
    new Promise<string>((resolve, reject) => {
      const asked = request(
        {
          agent,
          host: url.hostname,
          port: url.port,
          path: '/v1/models/m:predict',
          method: 'POST',
          headers: { 'nearfar-client-id': client },
        },
        (answer) => {
          answer.resume();
          answer.once('end', () =>
            answer.statusCode === 200
              ? resolve(String(answer.headers['nearfar-model-version']))
              : reject(new Error(`${answer.statusCode}`)),
          );
        },
      );
      asked.once('error', reject);
      asked.end(body);
    });
  const counts: Record<string, number> = {};
  let next = 0;
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      while (next < requests) {
        const version = await ask(`client ${next++}`);
        counts[version] = (counts[version] ?? 0) + 1;
      }
    }),
  );
  const startedAt = performance.now();
  await put({});
  const after = await Promise.all(Array.from({ length: 200 }, (_, index) => ask(`client ${index}`)));
  const tookMs = performance.now() - startedAt;
  agent.destroy();

  process.stdout.write(
    `split of ${requests} requests: ${JSON.stringify(counts)}; ${after.length} answers ${tookMs.toFixed(0)} ms after going back\n`,
  );
  expect(counts['1']! + counts['2']!).toBe(requests);
  expect(Math.abs((100 * counts['2']!) / requests - 10)).toBeLessThan(1);
  expect(new Set(after)).toEqual(new Set(['1']));
  expect(tookMs).toBeLessThan(2_000);
});
