import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../../src/server/index.ts';
import { httpAccess } from '../../../src/server/security/access.ts';
import { copyEveryday10 } from '../../support/everyday10.ts';
import { openTempFolder } from '../../support/model-folder.ts';
import { outerProductOnnx } from '../../support/outer-product.ts';
import { publishSource } from '../../support/task-models.ts';

// The OpenAPI document names every route, and answers are as it says.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;
// biome-ignore lint/suspicious/noExplicitAny: a document of many forms
let document: any;

beforeAll(async () => {
  folder = await openTempFolder();
  await copyEveryday10(join(folder.path, 'photos'), '1');
  await publishSource(folder.path, 'sums', outerProductOnnx());
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: folder.path,
    backends: ['onnx-cpu'],
    engineThreads: 1,
    historyFile: '',
    logLevel: 'silent',
  });
  await server.whenReady();
  document = await (await fetch(`${server.restAddress}/nearfar/v1/openapi.json`)).json();
});
afterAll(async () => {
  await server?.close();
  await folder?.[Symbol.asyncDispose]();
});

const verbs = ['get', 'post', 'put', 'delete'];

test('it names every route that the server has, and no other', () => {
  // TensorFlow Serving's routes are one to the router; static pages and what browsers ask beforehand are no API.
  const left = /^(ANY|OPTIONS) | \/v1\/\*$|GET \/(\*|ui)/;
  const routes = Object.keys(httpAccess).filter((row) => !left.test(row));

  const named = Object.entries(document.paths as Record<string, object>)
    .filter(([path]) => !/^\/v1\//.test(path))
    .flatMap(([path, operations]) =>
      verbs
        .filter((verb) => verb in operations)
        .map(
          (verb) =>
            `${verb.toUpperCase()} ${path
              .replace('/models/{file}', '/models/*')
              .replace('/files/{path}', '/files/*')
              .replace(/\{(\w+)\}/g, ':$1')}`,
        ),
    );

  expect(named.sort()).toEqual(routes.sort());
});

const photo = new Uint8Array(32 * 32 * 3).fill(120);
const pixels = { 'content-type': 'application/octet-stream', 'nearfar-image-shape': '32,32,3' };

test.each([
  ['get', '/v1/models', '/v1/models'],
  ['get', '/v1/models/{model}', '/v1/models/photos'],
  ['get', '/v1/models/{model}/versions/{version}/metadata', '/v1/models/photos/versions/1/metadata'],
  ['post', '/v1/models/{model}:predict', '/v1/models/sums:predict', '{"inputs": [1, 2]}'],
  ['post', '/v1/models/{model}:predict', '/v1/models/none:predict', '{"inputs": [1, 2]}'],
  ['get', '/v2', '/v2'],
  ['get', '/v2/health/ready', '/v2/health/ready'],
  ['get', '/v2/models/stats', '/v2/models/stats'],
  ['get', '/v2/models/{model}', '/v2/models/photos'],
  ['get', '/v2/models/{model}/ready', '/v2/models/photos/ready'],
  ['get', '/v2/models/{model}/config', '/v2/models/photos/config'],
  ['get', '/v2/models/{model}/versions/{version}/stats', '/v2/models/photos/versions/1/stats'],
  [
    'post',
    '/v2/models/{model}/infer',
    '/v2/models/sums/infer',
    '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}',
  ],
  ['post', '/v2/repository/index', '/v2/repository/index', '{}'],
  ['post', '/nearfar/v1/models/{model}/tasks/{task}', '/nearfar/v1/models/photos/tasks/image-classification', photo],
  ['get', '/nearfar/v1/models', '/nearfar/v1/models'],
  ['get', '/nearfar/v1/models/{model}/versions/{version}', '/nearfar/v1/models/photos/versions/1'],
  ['get', '/nearfar/v1/models/{model}/versions/{version}', '/nearfar/v1/models/photos/versions/9'],
  ['get', '/nearfar/v1/batching', '/nearfar/v1/batching'],
  ['get', '/nearfar/v1/history', '/nearfar/v1/history?limit=5'],
  ['get', '/nearfar/v1/failures', '/nearfar/v1/failures'],
  ['get', '/nearfar/v1/charts', '/nearfar/v1/charts?model=photos'],
  ['get', '/nearfar/v1/config', '/nearfar/v1/config'],
  ['get', '/nearfar/v1/models/{model}/drift', '/nearfar/v1/models/photos/drift'],
  ['post', '/nearfar/v1/models/{model}/versions/{version}/baseline', '/nearfar/v1/models/photos/versions/1/baseline'],
  ['get', '/nearfar/v1/models/{model}/feedback', '/nearfar/v1/models/photos/feedback'],
  ['post', '/nearfar/v1/models/{model}/feedback', '/nearfar/v1/models/photos/feedback', '{"id": "made.up", "label": "cat"}'],
  ['get', '/nearfar/v1/models/{model}/uploads', '/nearfar/v1/models/photos/uploads'],
  ['post', '/nearfar/v1/models/{model}/uploads', '/nearfar/v1/models/photos/uploads', '{"files": []}'],
  [
    'post',
    '/nearfar/v1/models/{model}/uploads',
    '/nearfar/v1/models/new/uploads',
    `{"files": [{"path": "model.onnx", "bytes": 1, "digest": "sha256:${'0'.repeat(64)}"}]}`,
  ],
  ['put', '/nearfar/v1/models/{model}/labels/{label}', '/nearfar/v1/models/photos/labels/stable', '{"version": 1}'],
  ['put', '/nearfar/v1/models/{model}/traffic', '/nearfar/v1/models/photos/traffic', '{"stable": 101}'],
  ['get', '/healthz', '/healthz'],
] as const)('%s %s answers as it says (%s)', async (method, path, url, body?: string | Uint8Array<ArrayBuffer>) => {
  const headers = typeof body === 'string' ? { 'content-type': 'application/json' } : body && pixels;
  const response = await fetch(`${server.restAddress}${url}`, {
    method: method.toUpperCase(),
    ...(body && { body }),
    ...(headers && { headers }),
  });

  const { responses } = document.paths[path][method];
  const { content } = responses[response.status] ?? responses.default;
  const schema = content['application/json'].schema;
  const validate = new Ajv2020({ strict: false, validateFormats: false }).compile({ ...schema, components: document.components });
  validate(await response.json());
  expect(validate.errors).toBeNull();
});
