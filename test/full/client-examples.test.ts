import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { drawBoat, models } from '../browser/far-server.ts';
import { openTempFolder } from '../support/model-folder.ts';

// The examples of clients as they are, against a server with the built-in model.

const examples = fileURLToPath(new URL('../../examples/clients/', import.meta.url));
const python = process.env['NEARFAR_PYTHON'];
const run = promisify(execFile);

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;
let photo: string;

beforeAll(async () => {
  folder = await openTempFolder();
  photo = join(folder.path, 'boat.png');
  await writeFile(photo, await drawBoat());
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: models,
    backends: ['onnx-cpu'],
    engineThreads: 1,
    historyFile: '',
    logLevel: 'silent',
  });
  await server.whenReady();
});
afterAll(async () => {
  await server?.close();
  await folder?.[Symbol.asyncDispose]();
});

/** @returns undefined where the program, or what it needs, is not there. */
async function probe(command: string | undefined, ...args: string[]): Promise<boolean> {
  return (
    command !== undefined &&
    (await run(command, args).then(
      () => true,
      () => false,
    ))
  );
}

test('curl', async (context) => {
  if (!(await probe('curl', '--version'))) return context.skip('no curl');

  const { stdout } = await run('sh', [join(examples, 'curl.sh'), server.restAddress ?? '', photo]);

  expect(stdout).toMatch(/"predictions":\[\{"label":"\w+"/);
  expect(stdout).toMatch(/"predictions": \[\[/);
});

test('Python: REST, the Open Inference Protocol, TensorFlow Serving over gRPC', { timeout: 120_000 }, async (context) => {
  if (!(await probe(python, '-c', 'import requests, numpy'))) return context.skip('NEARFAR_PYTHON names no Python with requests and numpy');

  const { stdout } = await run(python!, [join(examples, 'python_clients.py'), server.restAddress ?? '', server.grpcAddress ?? '', photo]);

  expect(stdout.split('\n')[0]).toMatch(/^\w+ +0\.\d{3}$/);
  expect(stdout).toMatch(/infer_grpc (answers the same|was left out)/);
  expect(stdout).toMatch(/predict_grpc (answers the same|was left out)/);
});

test('Go, with its standard library', { timeout: 120_000 }, async (context) => {
  if (!(await probe('go', 'version'))) return context.skip('no Go');
  const options = { cwd: join(examples, 'go'), env: { ...process.env, GOFLAGS: '-buildvcs=false' } };
  await run('go', ['vet', '.'], options);

  const { stdout } = await run('go', ['run', '.', server.restAddress ?? '', photo], options);

  const [, black = ''] = /a black picture: \[(.*)\]/.exec(stdout) ?? [];
  expect(stdout.split('\n')[0]).toMatch(/^\w+ +0\.\d{3}$/);
  expect(black.split(' ').reduce((sum, value) => sum + Number(value), 0)).toBeCloseTo(1, 4);
});

test('the notebook', { timeout: 120_000 }, async (context) => {
  if (!(await probe(python, '-c', 'import nbclient, ipykernel, requests')))
    return context.skip('NEARFAR_PYTHON names no Python with nbclient and ipykernel');
  const script = `
import nbformat, nbclient
notebook = nbformat.read(${JSON.stringify(join(examples, 'notebook.ipynb'))}, as_version=4)
nbclient.NotebookClient(notebook, timeout=60).execute()
print(sum(len(cell.outputs) for cell in notebook.cells if cell.cell_type == 'code'))
`;

  const { stdout } = await run(python!, ['-c', script], { env: { ...process.env, NEARFAR_SERVER: server.restAddress } });

  expect(Number(stdout)).toBeGreaterThanOrEqual(4);
});
