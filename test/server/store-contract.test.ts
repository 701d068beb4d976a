import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { createMemoryStore, openDiskStore } from '../../src/server/index.ts';
import { createStoreOpener } from '../../src/server/repository/index.ts';
import { type BucketServer, serveBucket } from '../support/bucket-server.ts';
import { createFaultyRepository, serveFaulty } from '../support/fault-server.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { type StoreBench, testStoreContract } from '../support/repository-store-contract.ts';
import { serveStatic } from '../support/static-server.ts';

const guard = { redirectHosts: [] };

async function folderBench(): Promise<Omit<StoreBench, 'store'> & { readonly path: string }> {
  const folder = await openTempFolder();
  return {
    path: folder.path,
    write: async (path, bytes) => {
      await mkdir(dirname(join(folder.path, path)), { recursive: true });
      await writeFile(join(folder.path, path), bytes);
    },
    remove: (path) => rm(join(folder.path, path)),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

testStoreContract('in memory', async () => {
  const store = createMemoryStore();
  return {
    store,
    write: async (path, bytes) => store.write(path, bytes),
    remove: async (path) => store.remove(path),
    [Symbol.asyncDispose]: async () => {},
  };
});

testStoreContract('on disk', async () => {
  const bench = await folderBench();
  return { ...bench, store: openDiskStore(bench.path) };
});

testStoreContract(
  'over HTTP',
  async () => {
    const bench = await folderBench();
    const server = await serveFaulty(bench.path, { answersUnchanged: true });
    return {
      ...bench,
      store: createStoreOpener(guard, {})(server.origin),
      [Symbol.asyncDispose]: async () => {
        await server[Symbol.asyncDispose]();
        await bench[Symbol.asyncDispose]();
      },
    };
  },
  { canList: false },
);

async function bucketBench(location: string, environment: (server: BucketServer) => Record<string, string>): Promise<StoreBench> {
  const server = await serveBucket();
  const objects = server.objects as Map<string, { bytes: Buffer; cacheControl: string | undefined }>;
  return {
    store: createStoreOpener(guard, environment(server))(location),
    write: async (path, bytes) => void objects.set(`bucket/models/${path}`, { bytes: Buffer.from(bytes), cacheControl: undefined }),
    remove: async (path) => void objects.delete(`bucket/models/${path}`),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

testStoreContract('in S3', () => bucketBench('s3://bucket/models', ({ environment }) => environment));

testStoreContract('in Google Cloud Storage', () =>
  bucketBench('gs://bucket/models', ({ environment }) => ({
    GCS_ACCESS_KEY_ID: 'test-key',
    GCS_SECRET_ACCESS_KEY: 'test-secret',
    GCS_ENDPOINT_URL: environment['AWS_ENDPOINT_URL_S3']!,
  })),
);

test('keys of S3 come from a profile, and none are sent where nobody is to be known', async () => {
  await using folder = await openTempFolder();
  await using server = await serveBucket();
  const endpoint = server.environment['AWS_ENDPOINT_URL_S3']!;
  const credentials = join(folder.path, 'credentials');
  await writeFile(
    credentials,
    '[default]\naws_access_key_id = other\naws_secret_access_key = x\n[near]\naws_access_key_id = test-key\naws_secret_access_key = s\n',
  );
  const environment = { AWS_SHARED_CREDENTIALS_FILE: credentials, AWS_CONFIG_FILE: credentials, AWS_ENDPOINT_URL: endpoint };
  const open = createStoreOpener(guard, environment);

  const byProfile = await open('s3://bucket/models?profile=near').read('a');
  const byDefault = () => open('s3://bucket/models').read('a');
  const anonymous = () => open('s3://bucket/models?profile=near&anonymous=true').read('a');

  expect(byProfile.kind).toBe('missing');
  await expect(byDefault()).rejects.toMatchObject({ code: 'permission-denied', message: expect.stringMatching(/no signature/) });
  await expect(anonymous()).rejects.toMatchObject({ code: 'permission-denied' });
  await expect(open('s3://bucket/models?profile=nobody').read('a')).rejects.toMatchObject({ code: 'unauthenticated' });
});

test('an Authorization header goes to its host alone, redirects or not', async () => {
  await using folder = await openTempFolder();
  await writeFile(join(folder.path, 'a'), 'content');
  await using other = await serveFaulty(folder.path);
  await using own = await serveFaulty(folder.path);
  const authorization = 'Bearer secret-token';
  const environment = { NEARFAR_STORE_AUTHORIZATION: `${new URL(own.origin).host} ${authorization}` };
  const open = createStoreOpener({ redirectHosts: [new URL(other.origin).host] }, environment);
  own.fail((path) => (path === 'b' ? { status: 302, headers: { location: `${other.origin}/a` } } : undefined));

  await open(own.origin).read('a');
  await open(other.origin).read('a');
  const redirected = await open(own.origin).read('b');
  const refused = await createStoreOpener(
    guard,
    environment,
  )(own.origin)
    .read('b')
    .catch((error: unknown) => error);

  expect(own.requests.map((request) => request.authorization)).toEqual([authorization, authorization, authorization]);
  expect(other.requests.map((request) => request.authorization)).toEqual([undefined, undefined]);
  expect(redirected.kind).toBe('content');
  expect(refused).toMatchObject({ code: 'permission-denied' });
  expect(JSON.stringify(refused) + String(refused)).not.toContain('secret-token');
});

test.each([
  ['models.json', '{"models": ["b", "a"]}'],
  ['index of nginx', '<html><body><a href="../">../</a><a href="a/">a/</a><a href="b/">b/</a><a href="c.txt">c.txt</a></body></html>'],
  ['index of Apache', '<ul><li><a href="/">Parent</a></li><li><a href="./a/">a/</a></li><li><a class="x" href="b/">b</a></li></ul>'],
  ['JSON of nginx', '[{"name":"a","type":"directory"},{"name":"b","type":"directory"},{"name":"c.txt","type":"file"}]'],
])('models behind HTTP are found by %s', async (_, index) => {
  await using folder = await openTempFolder();
  const files = createFaultyRepository(folder.path, '/');
  await using server = await serveStatic(folder.path, { mounts: { '/': files.handler } });
  files.fail((path) => ((index.startsWith('{') ? path === 'models.json' : path === '') ? { body: index } : { status: 404 }));

  const entries = await createStoreOpener(guard, {})(server.origin).list('');

  expect(entries.map(({ path }) => path).sort()).toEqual(['a/', 'b/']);
});
