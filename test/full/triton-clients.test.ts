import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { startServer } from '../../src/server/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { initializer, node, onnxModel, scalingModel, valueInfo } from '../support/onnx-writer.ts';

// Triton's own clients, unmodified: `pip install tritonclient[all]`, in the Python that NEARFAR_PYTHON names.

const python = process.env['NEARFAR_PYTHON'];
const script = fileURLToPath(new URL('../support/triton-clients.py', import.meta.url));
const run = promisify(execFile);

const [FLOAT32, FLOAT16, STRING, INT64] = [1, 10, 8, 7];
const matrix = ['n', 'm'];
const scalar = (name: string, value: number) => initializer(name, FLOAT32, [1], new Uint8Array(Float32Array.of(value).buffer));
const halfPlusTwo = onnxModel([
  [1, node('Mul', ['x', 'half'], ['z'])],
  [1, node('Add', ['z', 'two'], ['y'])],
  [5, scalar('half', 0.5)],
  [5, scalar('two', 2)],
  [11, valueInfo('x', FLOAT32, matrix)],
  [12, valueInfo('y', FLOAT32, matrix)],
]);
const doubling = onnxModel([
  [1, node('Add', ['x', 'x'], ['y'])],
  [11, valueInfo('x', FLOAT16, matrix)],
  [12, valueInfo('y', FLOAT16, matrix)],
]);
const echo = onnxModel([
  [1, node('Identity', ['s'], ['t'])],
  [1, node('Identity', ['n'], ['m'])],
  [11, valueInfo('s', STRING, matrix)],
  [11, valueInfo('n', INT64, matrix)],
  [12, valueInfo('t', STRING, matrix)],
  [12, valueInfo('m', INT64, matrix)],
]);

async function hasTritonClient(): Promise<boolean> {
  if (python === undefined) return false;
  return run(python, ['-c', 'import tritonclient.http, tritonclient.grpc']).then(
    () => true,
    () => false,
  );
}

test('unmodified clients of Triton, over HTTP and gRPC', async (context) => {
  if (python === undefined || !(await hasTritonClient())) return context.skip('NEARFAR_PYTHON names no Python with tritonclient');
  await using folder = await openTempFolder();
  const models = join(folder.path, 'models');
  const addOnnx = async (name: string, bytes: Uint8Array, version = '1') => {
    await mkdir(join(models, name, version), { recursive: true });
    await writeFile(join(models, name, version, 'model.onnx'), bytes);
  };
  await copyEveryday10(join(models, 'everyday10'), '1');
  await addOnnx('half_plus_two', halfPlusTwo, '123');
  await addOnnx('half', doubling);
  await addOnnx('echo', echo);
  await addOnnx('extra', scalingModel(2, ['n', 'm']));
  const replacement = join(folder.path, 'replacement.onnx');
  await writeFile(replacement, scalingModel(10, ['n', 'm']));
  await using server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: models,
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu', 'tfjs-wasm'],
    pollIntervalMs: 50,
    logLevel: 'silent',
  });
  await server.whenReady();

  const addresses = [server.restAddress!.replace('http://', ''), server.grpcAddress!];
  const { stdout, stderr } = await run(python, [script, ...addresses, replacement]).catch((error) => error);

  expect(stderr).toBe('');
  expect(stdout.trim().split('\n')).toHaveLength(17);
  console.log(stdout);
});
