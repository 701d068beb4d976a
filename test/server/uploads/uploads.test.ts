import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, rename, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type RunningServer, type ServerOptions, startServer } from '../../../src/server/index.ts';
import { copyEveryday10 } from '../../support/everyday10.ts';
import { openTempFolder } from '../../support/model-folder.ts';

// Uploads over real sockets into a real repository, which a real server serves.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;
let root: string;
let round = 0;

beforeAll(async () => {
  folder = await openTempFolder();
  for (const version of ['1', '2']) await copyEveryday10(join(folder.path, 'source/everyday10'), version);
});
afterAll(() => folder[Symbol.asyncDispose]());

beforeEach(async () => {
  root = join(folder.path, `root${++round}`);
  await mkdir(root);
  await start();
});
afterEach(() => server.close());

async function start(options: ServerOptions = {}): Promise<void> {
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    backends: ['onnx-cpu'],
    engineThreads: 1,
    pollIntervalMs: 50,
    lameDuckMs: 1,
    gracePeriodMs: 200,
    cacheDir: join(folder.path, 'cache'),
    historyFile: join(root, '..', `history${round}.sqlite`),
    logLevel: 'silent',
    modelsRoot: root,
    ...options,
  });
}

interface Announced {
  readonly path: string;
  readonly bytes: number;
  readonly digest: string;
}

const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function announce(from: string): Promise<Announced[]> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(from.length + 1));
  return Promise.all(
    paths.sort().map(async (path) => {
      const bytes = await readFile(join(from, path));
      return { path, bytes: bytes.byteLength, digest: digestOf(bytes) };
    }),
  );
}

async function call(method: string, path: string, body?: object | Uint8Array, headers: Record<string, string> = {}) {
  const answer = await fetch(`${server.restAddress}/nearfar/v1/models/${path}`, {
    method,
    headers,
    ...(body && { body: body instanceof Uint8Array ? new Uint8Array(body) : JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text === '' ? undefined : JSON.parse(text) };
}

async function send(model: string, upload: string, from: string, missing: readonly Announced[]) {
  for (const { path } of missing) {
    const { status, body } = await call('PUT', `${model}/uploads/${upload}/files/${path}`, await readFile(join(from, path)));
    if (status !== 200) throw new Error(JSON.stringify(body));
  }
}

const source = (version: string) => join(folder.path, 'source/everyday10', version);
const instances = [Array.from({ length: 32 }, () => Array.from({ length: 32 }, () => [0, 0, 0]))];
const predict = (model: string) =>
  fetch(`${server.restAddress}/v1/models/${model}:predict`, { method: 'POST', body: JSON.stringify({ instances }) });
const visible = async (model: string) => (await readdir(join(root, model)).catch(() => [])).filter((name) => !name.startsWith('.')).sort();
const hidden = async (model: string) => (await readdir(join(root, model)).catch(() => [])).filter((name) => name.startsWith('.'));

describe('a published version', () => {
  test('comes file by file, is seen by nobody before it is whole, and is served then', async () => {
    const files = await announce(source('1'));
    const begun = await call('POST', 'everyday10/uploads', { version: 1, files });
    const [first, ...others] = begun.body.missing;
    await send('everyday10', begun.body.upload, source('1'), others);
    const early = await call('POST', `everyday10/uploads/${begun.body.upload}/complete`);
    const before = await visible('everyday10');
    const models = await fetch(`${server.restAddress}/nearfar/v1/models`).then((answer) => answer.json());
    const published = await fetch(`${server.restAddress}/models/everyday10/versions.json`);
    await send('everyday10', begun.body.upload, source('1'), [first]);
    const done = await call('POST', `everyday10/uploads/${begun.body.upload}/complete`);

    expect(begun.status).toBe(200);
    expect(begun.body).toMatchObject({ model: 'everyday10', version: '1' });
    expect(begun.body.missing).toEqual(files.map((file) => ({ ...file, offset: 0 })));
    expect(early).toMatchObject({ status: 400, body: { code: 'failed-precondition', details: { missing: [first.path] } } });
    expect([before, models, published.status]).toEqual([[], { models: [] }, 404]);
    expect(done).toMatchObject({ status: 200, body: { model: 'everyday10', version: '1' } });
    expect(done.body.digest).toBe(digestOf(await readFile(join(source('1'), 'manifest.json'))));
    expect(JSON.parse(await readFile(join(root, 'everyday10/versions.json'), 'utf8'))).toMatchObject({
      name: 'everyday10',
      versions: [{ version: '1', digest: done.body.digest }],
      labels: { stable: '1' },
    });
    expect(await announce(join(root, 'everyday10/1'))).toEqual(files);
    expect(await hidden('everyday10')).toEqual([]);
    await expect.poll(async () => (await predict('everyday10')).status, { timeout: 20_000 }).toBe(200);
    const { entries } = await fetch(`${server.restAddress}/nearfar/v1/history?model=everyday10`).then((answer) => answer.json());
    expect(entries).toContainEqual(
      expect.objectContaining({
        action: 'add',
        version: '1',
        way: 'REST',
        outcome: 'done',
        to: expect.objectContaining({ digest: done.body.digest }),
      }),
    );
  });

  test('goes on by bytes after a connection that broke and after a server that ended, and is hashed over both', async () => {
    const files = await announce(source('1'));
    const { body: begun } = await call('POST', 'everyday10/uploads', { version: 1, files });
    const largest = files.reduce((a, b) => (a.bytes > b.bytes ? a : b));
    const bytes = await readFile(join(source('1'), largest.path));
    const half = Math.floor(bytes.byteLength / 2);
    const { port } = new URL(server.restAddress ?? '');
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      `PUT /nearfar/v1/models/everyday10/uploads/${begun.upload}/files/${largest.path} HTTP/1.1\r\nhost: localhost\r\ncontent-range: bytes 0-${bytes.byteLength - 1}/${bytes.byteLength}\r\ncontent-length: ${bytes.byteLength}\r\n\r\n`,
    );
    socket.write(bytes.subarray(0, half));
    const url = `everyday10/uploads/${begun.upload}/files/${largest.path}`;
    const offset = async () => Number((await call('HEAD', url)).headers.get('upload-offset'));
    await expect.poll(offset).toBe(half);
    socket.destroy();
    // The server has noticed, and blames nobody for it.
    const metrics = async () => (await fetch(`${server.restAddress}/metrics`)).text();
    await expect.poll(metrics).toMatch(/nearfar_requests_total\{.*api="upload".*status="CANCELLED"\} 1/);
    const { failures } = await fetch(`${server.restAddress}/nearfar/v1/failures`).then((answer) => answer.json());
    expect(failures).toEqual([]);
    await server.close();
    await start();

    const again = await call('POST', 'everyday10/uploads', { version: 1, files });
    const wrong = await call('PUT', url, bytes, { 'content-range': `bytes 0-${bytes.byteLength - 1}/${bytes.byteLength}` });
    const rest = await call('PUT', url, bytes.subarray(half), {
      'content-range': `bytes ${half}-${bytes.byteLength - 1}/${bytes.byteLength}`,
    });
    await send(
      'everyday10',
      begun.upload,
      source('1'),
      files.filter(({ path }) => path !== largest.path),
    );
    const done = await call('POST', `everyday10/uploads/${begun.upload}/complete`);

    expect(again.body).toMatchObject({ upload: begun.upload, missing: expect.arrayContaining([{ ...largest, offset: half }]) });
    expect(wrong).toMatchObject({ status: 400, body: { code: 'failed-precondition', details: { offset: half } } });
    expect(rest.body).toEqual({ offset: bytes.byteLength, bytes: bytes.byteLength });
    expect(done.status).toBe(200);
    expect(await announce(join(root, 'everyday10/1'))).toEqual(files);
  });

  test('with wrong bytes is refused by the digest, and begins that file anew', async () => {
    const files = await announce(source('1'));
    const { body: begun } = await call('POST', 'everyday10/uploads', { version: 1, files });
    const file = files[0]!;
    const right = await readFile(join(source('1'), file.path));
    const wrong = new Uint8Array(right);
    wrong[0]! ^= 1;
    const url = `everyday10/uploads/${begun.upload}/files/${file.path}`;
    const damaged = await call('PUT', url, wrong);
    const longer = await call('PUT', url, Buffer.concat([right, Buffer.from('x')]));
    const state = await call('GET', `everyday10/uploads/${begun.upload}`);
    const repaired = await call('PUT', url, right);

    expect(damaged.body).toMatchObject({
      code: 'integrity-mismatch',
      details: { path: file.path, want: file.digest, got: digestOf(wrong) },
    });
    expect(longer).toMatchObject({ status: 400, body: { code: 'invalid-argument' } });
    expect(state.body.missing).toContainEqual({ ...file, offset: expect.any(Number) });
    expect(repaired.body).toEqual({ offset: file.bytes, bytes: file.bytes });
  });

  test('whose files are not those of its manifest is not published', async () => {
    const bad = join(folder.path, `bad${round}`);
    await cp(source('1'), bad, { recursive: true });
    const [victim] = (await announce(bad)).filter(({ path }) => path.endsWith('.onnx'));
    await writeFile(join(bad, victim!.path), 'other bytes');
    const files = await announce(bad);
    const { body: begun } = await call('POST', 'everyday10/uploads', { version: 1, files });
    await send('everyday10', begun.upload, bad, files);
    const done = await call('POST', `everyday10/uploads/${begun.upload}/complete`);
    const gone = await call('DELETE', `everyday10/uploads/${begun.upload}`);

    expect(done.body).toMatchObject({ code: 'integrity-mismatch', details: { path: victim!.path } });
    expect(await visible('everyday10')).toEqual([]);
    expect(gone.status).toBe(204);
    // Nor is a folder left of a model that never was.
    expect(await readdir(root)).toEqual([]);
  });

  test('is another name or number than it was announced as: refused', async () => {
    const files = await announce(source('1'));
    const complete = async (model: string, version: number) => {
      const { body: begun } = await call('POST', `${model}/uploads`, { version, files });
      await send(model, begun.upload, source('1'), files);
      return (await call('POST', `${model}/uploads/${begun.upload}/complete`)).body;
    };

    expect(await complete('everyday10', 7)).toMatchObject({ code: 'invalid-argument', details: { want: '7', got: '1' } });
    expect(await complete('other', 1)).toMatchObject({ code: 'invalid-argument', details: { want: 'other', got: 'everyday10' } });
    expect((await call('POST', 'everyday10/uploads', { files })).body).toMatchObject({ code: 'invalid-argument' });
  });

  test('of a number that is taken, or on its way, is refused; another number goes beside it, with its label', async () => {
    await cp(source('1'), join(root, 'everyday10/1'), { recursive: true });
    const digest = digestOf(await readFile(join(source('1'), 'manifest.json')));
    await writeFile(
      join(root, 'everyday10/versions.json'),
      JSON.stringify({ schemaVersion: 1, name: 'everyday10', versions: [{ version: '1', digest }], labels: { stable: '1' } }),
    );
    const files = await announce(source('2'));
    const taken = await call('POST', 'everyday10/uploads', { version: 1, files: await announce(source('1')) });
    const [first, second] = await Promise.all([
      call('POST', 'everyday10/uploads', { version: 2, labels: ['canary'], files }),
      call('POST', 'everyday10/uploads', { version: 2, files: files.slice(1) }),
    ]);
    const begun = [first, second].find(({ status }) => status === 200)!;
    await send('everyday10', begun.body.upload, source('2'), begun.body.missing);
    const list = await call('GET', 'everyday10/uploads');
    const done = await call('POST', `everyday10/uploads/${begun.body.upload}/complete`);
    const versions = JSON.parse(await readFile(join(root, 'everyday10/versions.json'), 'utf8'));

    expect(taken).toMatchObject({ status: 409, body: { code: 'already-exists' } });
    expect([first.status, second.status]).toEqual([200, 409]);
    expect(list.body.uploads).toMatchObject([{ upload: begun.body.upload, version: '2', missing: [] }]);
    expect(done.status).toBe(200);
    expect(versions).toMatchObject({ versions: [{ version: '1' }, { version: '2' }], labels: { stable: '1', canary: '2' } });
  });

  test('that was half laid out when the server was killed is completed then', async () => {
    const files = await announce(source('1'));
    const { body: begun } = await call('POST', 'everyday10/uploads', { version: 1, files });
    await send('everyday10', begun.upload, source('1'), files);
    await server.close();
    const staging = join(root, 'everyday10', `.uploading-${begun.upload}`);
    const target = join(staging, 'version', files[0]!.path);
    await mkdir(dirname(target), { recursive: true });
    await rename(join(staging, 'parts', '0'), target);
    await start();
    const state = await call('GET', `everyday10/uploads/${begun.upload}`);
    const done = await call('POST', `everyday10/uploads/${begun.upload}/complete`);

    expect(state.body.missing).toEqual([]);
    expect(done.status).toBe(200);
    expect(await announce(join(root, 'everyday10/1'))).toEqual(files);
  });

  test('is given up while a file of it comes: the sender is told, and nothing stays', async () => {
    const files = await announce(source('1'));
    const { body: begun } = await call('POST', 'everyday10/uploads', { version: 1, files });
    const largest = files.reduce((a, b) => (a.bytes > b.bytes ? a : b));
    const { port } = new URL(server.restAddress ?? '');
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    const url = `everyday10/uploads/${begun.upload}/files/${largest.path}`;
    socket.write(`PUT /nearfar/v1/models/${url} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${largest.bytes}\r\n\r\nonly a little`);
    await expect.poll(async () => Number((await call('HEAD', url)).headers.get('upload-offset'))).toBeGreaterThan(0);
    const answered = once(socket, 'data');
    const { status } = await call('DELETE', `everyday10/uploads/${begun.upload}`);
    const [answer] = await answered;
    socket.destroy();

    expect(status).toBe(204);
    expect(String(answer)).toMatch(/^HTTP\/1\.1 499 /);
    expect(await readdir(root)).toEqual([]);
  });

  test('that was moved to its place when the server was killed is listed at its next start', async () => {
    const files = await announce(source('1'));
    const { body: begun } = await call('POST', 'everyday10/uploads', { version: 1, files });
    await send('everyday10', begun.upload, source('1'), files);
    await server.close();
    // As it is between the two renames of the last step.
    await cp(source('1'), join(root, 'everyday10/1'), { recursive: true });
    await start();

    await expect.poll(() => visible('everyday10'), { timeout: 10_000 }).toEqual(['1', 'versions.json']);
    await expect.poll(() => hidden('everyday10')).toEqual([]);
    expect(JSON.parse(await readFile(join(root, 'everyday10/versions.json'), 'utf8'))).toMatchObject({ versions: [{ version: '1' }] });
  });
});

describe('a plain folder', () => {
  test('of an ONNX file becomes the next version, is imported and answers', async () => {
    const plain = join(folder.path, `plain${round}`);
    const [onnx] = (await announce(source('1'))).filter(({ path }) => path.endsWith('.onnx'));
    await mkdir(plain, { recursive: true });
    await cp(join(source('1'), onnx!.path), join(plain, 'model.onnx'));
    const files = await announce(plain);
    const first = await call('POST', 'plain/uploads', { files });
    await send('plain', first.body.upload, plain, files);
    const done = await call('POST', `plain/uploads/${first.body.upload}/complete`);
    const second = await call('POST', 'plain/uploads', { files });

    expect(done.body).toEqual({ model: 'plain', version: '1' });
    expect(second.body.version).toBe('2');
    expect(await visible('plain')).toEqual(['1']);
    await expect.poll(() => server.servables.isReady('plain'), { timeout: 30_000 }).toBe(true);
  });

  test('that holds no model is refused', async () => {
    const files = [{ path: 'README.md', bytes: 1, digest: digestOf(Buffer.from('x')) }];

    expect((await call('POST', 'notes/uploads', { files })).body).toMatchObject({
      code: 'invalid-argument',
      error: expect.stringContaining('model'),
    });
  });
});

describe('paths', () => {
  const digest = digestOf(Buffer.from('x'));
  const begin = (...paths: string[]) =>
    call('POST', 'm/uploads', { files: ['model.onnx', ...paths].map((path) => ({ path, bytes: 1, digest })) });

  test('that escape, or that not every file system takes, are refused', async () => {
    const bad = [
      '../up.onnx',
      'a/../../up.onnx',
      '/etc/passwd',
      'a//b',
      './a',
      'a/.',
      '',
      'a\\..\\b',
      'C:\\up',
      'c:up',
      'a\u0000b',
      'a\nb',
      'CON',
      'sub/nul.txt',
      'lpt1',
      'trailing.',
      'trailing ',
      'stream:x',
      'a?b',
      'x'.repeat(256),
      Array.from({ length: 300 }, () => 'abcd').join('/'),
    ];
    for (const path of bad) {
      const { status, body } = await begin(path);
      expect([path, status, body.code]).toEqual([path, 400, 'invalid-argument']);
    }
    expect(await readdir(root)).toEqual([]);
  });

  test('that are one file, or a file and a folder, on some file system are refused', async () => {
    expect((await begin('a', 'A')).status).toBe(400);
    expect((await begin('a', 'a/b')).status).toBe(400);
    expect((await begin('a/b', 'A')).status).toBe(400);
    expect((await begin('\u00e9', 'e\u0301')).status).toBe(400);
  });

  test('of a name that is none are refused', async () => {
    for (const model of ['..%2Fup', '.hidden', 'a%40b', 'a%5Cb', 'a%3Ab']) {
      const { status } = await call('POST', `${model}/uploads`, { files: [{ path: 'model.onnx', bytes: 1, digest }] });
      expect([model, status]).toEqual([model, 400]);
    }
    expect(await readdir(folder.path)).not.toContain('up');
  });

  test('in the address of a file are those that were announced, and no others', async () => {
    const { body } = await begin();
    const put = (path: string) => call('PUT', `m/uploads/${body.upload}/files/${path}`, Buffer.from('x'));

    expect((await put('..%2F..%2Fup.onnx')).status).toBe(404);
    expect((await put('upload.json')).status).toBe(404);
    expect((await put('model.onnx')).status).toBe(200);
  });

  test('do not follow a link that somebody put in the way', async () => {
    const { body } = await begin();
    const victim = join(folder.path, `victim${round}`);
    await writeFile(victim, 'precious');
    await symlink(victim, join(root, 'm', `.uploading-${body.upload}`, 'parts', '0.part'));
    const range = { 'content-range': 'bytes 0-0/1' };
    const { status } = await call('PUT', `m/uploads/${body.upload}/files/model.onnx`, Buffer.from('x'), range);

    expect(status).toBeGreaterThanOrEqual(400);
    expect(await readFile(victim, 'utf8')).toBe('precious');
  });
});

describe('limits', () => {
  const digest = digestOf(Buffer.from('x'));

  test('of bytes, files and free space are told before anything comes', async () => {
    const { bavail, bsize } = await import('node:fs/promises').then(({ statfs }) => statfs(root));
    await server.close();
    await start({ maxUploadBytes: Number.MAX_SAFE_INTEGER });
    const full = await call('POST', 'm/uploads', { files: [{ path: 'model.onnx', bytes: bavail * bsize, digest }] });
    const many = await call('POST', 'm/uploads', {
      files: Array.from({ length: 10_001 }, (_, index) => ({ path: `${index}.onnx`, bytes: 0, digest })),
    });
    await server.close();
    await start({ maxUploadBytes: 10 });
    const large = await call('POST', 'm/uploads', { files: [{ path: 'model.onnx', bytes: 11, digest }] });
    await server.close();
    await start({ maxUploadBytes: 0 });
    const none = await call('POST', 'm/uploads', { files: [{ path: 'model.onnx', bytes: 1, digest }] });

    expect(full).toMatchObject({ status: 507, body: { code: 'quota-exceeded' } });
    expect(many).toMatchObject({ status: 400, body: { details: { limit: 10_000 } } });
    expect(large).toMatchObject({ status: 507, body: { code: 'quota-exceeded', details: { limit: 10, got: 11 } } });
    expect(none).toMatchObject({ status: 403, body: { code: 'permission-denied' } });
    expect(await readdir(root)).toEqual([]);
  });

  test('of where models lie: a store on the web takes none', async () => {
    await server.close();
    await start({ modelsRoot: undefined, models: [{ name: 'm', basePath: 's3://bucket/m' }] });
    const stored = await call('POST', 'm/uploads', { files: [{ path: 'model.onnx', bytes: 1, digest }] });
    const unknown = await call('POST', 'other/uploads', { files: [{ path: 'model.onnx', bytes: 1, digest }] });

    expect(stored.body).toMatchObject({ code: 'unsupported', error: expect.stringContaining('s3://bucket/m') });
    expect(unknown.body).toMatchObject({ code: 'not-found' });
  });

  test('of uploads at the same time: one more is refused', async () => {
    for (let model = 0; model < 32; model++) {
      expect((await call('POST', `m${model}/uploads`, { files: [{ path: 'model.onnx', bytes: 1, digest }] })).status).toBe(200);
    }

    expect((await call('POST', 'm/uploads', { files: [{ path: 'model.onnx', bytes: 1, digest }] })).body).toMatchObject({
      code: 'overloaded',
    });
  });

  test('uploads that nobody worked at for a day are taken away, younger ones stay', async () => {
    const begin = (model: string) => call('POST', `${model}/uploads`, { files: [{ path: 'model.onnx', bytes: 1, digest }] });
    const [old, young] = [await begin('old'), await begin('young')];
    const record = join(root, 'old', `.uploading-${old.body.upload}`, 'upload.json');
    const yesterday = new Date(Date.now() - 25 * 3_600_000);
    await utimes(record, yesterday, yesterday);
    await server.close();
    await start();

    await expect.poll(async () => (await call('GET', `young/uploads/${young.body.upload}`)).status).toBe(200);
    expect((await call('GET', `old/uploads/${old.body.upload}`)).status).toBe(404);
    await expect(stat(join(root, 'old'))).rejects.toThrow('ENOENT');
  });

  test('callers who may not change what is served begin none', async () => {
    const { status } = await call(
      'POST',
      'm/uploads',
      { files: [{ path: 'model.onnx', bytes: 1, digest }] },
      { origin: 'https://elsewhere.example' },
    );

    expect(status).toBe(403);
    expect(await readdir(root)).toEqual([]);
  });
});
