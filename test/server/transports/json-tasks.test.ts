import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTensor, type DType, type RunRequest, type TaskName, type TensorMap } from '../../../src/core/index.ts';
import { createRestServer, type Transport } from '../../../src/server/transports/index.ts';
import { taskSource } from '../../support/task-source.ts';
import { createStandInContext, createStandInFiles, createStandInStore, type StandInVersion, sha256 } from './support/stand-in.ts';

const labels = { 'labels.txt': 'no\nyes\n' };
const tokenizer = readFileSync(new URL('../../fixtures/text/bert-uncased.json', import.meta.url));
const published: Record<string, { bytes: Uint8Array }> = {};
const runs: RunRequest[] = [];

/** A version with one task, whose files lie in the repository; its runs are kept. */
async function version(
  name: string,
  task: TaskName,
  spec: { input: object; output: object },
  about: {
    inputs: Record<string, [DType, number[]]>;
    outputs: Record<string, [DType, number[]]>;
    files?: Record<string, string | Uint8Array>;
  },
  outputs: TensorMap,
): Promise<StandInVersion> {
  const { manifest, readFile } = taskSource(task, spec, about);
  for (const path of Object.keys(about.files ?? {})) published[`${name}/1/${path}`] = { bytes: await readFile(path) };
  const run = (request: RunRequest) => {
    runs.push(request);
    return outputs;
  };
  return { name, version: '1', manifest, digest: sha256(new TextEncoder().encode(name)), run };
}

const scores = { scores: ['float32', [-1, 2]] } satisfies Record<string, [DType, number[]]>;
const quarter = { scores: createTensor('float32', [1, 2], Float32Array.of(0.25, 0.75)) };
const columns = [
  { name: 'age', input: 'x', transform: { kind: 'standard', mean: 40, std: 10 }, missing: 40 },
  { name: 'job', input: 'x', transform: { kind: 'vocabulary', terms: 'jobs.txt', unknown: 9 } },
];
const table = { inputs: { x: ['float32', [-1, 2]] } satisfies Record<string, [DType, number[]]>, files: { 'jobs.txt': 'cook\nnurse\n' } };
const textInput = { tokenizer: 'tokenizer.json', padding: 'longest', ids: 'ids' };
const ids = { ids: ['int64', [-1, -1]] } satisfies Record<string, [DType, number[]]>;
const classes = { name: 'scores', activation: 'none', labels: 'labels.txt' };

let transport: Transport;
let base: string;

beforeAll(async () => {
  const versions = await Promise.all([
    version(
      'mood',
      'text-classification',
      { input: textInput, output: classes },
      { inputs: ids, outputs: scores, files: { ...labels, 'tokenizer.json': tokenizer } },
      quarter,
    ),
    version(
      'meaning',
      'embeddings',
      { input: textInput, output: { name: 'vectors', pooling: 'none', normalise: true } },
      { inputs: ids, outputs: { vectors: ['float32', [-1, 2]] }, files: { 'tokenizer.json': tokenizer } },
      { vectors: createTensor('float32', [1, 2], Float32Array.of(3, 4)) },
    ),
    version(
      'people',
      'tabular-classification',
      { input: { columns }, output: classes },
      { ...table, outputs: scores, files: { ...table.files, ...labels } },
      quarter,
    ),
    version(
      'price',
      'tabular-regression',
      { input: { columns }, output: { name: 'y', scale: 100 } },
      { ...table, outputs: { y: ['float32', [-1, 1]] } },
      { y: createTensor('float32', [1, 1], Float32Array.of(1.5)) },
    ),
    version(
      'noise',
      'audio-classification',
      { input: { name: 'samples', sampleRate: 16_000, samples: 4 }, output: classes },
      { inputs: { samples: ['float32', [-1, 4]] }, outputs: scores, files: labels },
      quarter,
    ),
    version(
      'changed',
      'tabular-regression',
      { input: { columns }, output: { name: 'y' } },
      { ...table, outputs: { y: ['float32', [-1, 1]] } },
      {},
    ),
  ]);
  published['changed/1/jobs.txt'] = { bytes: new TextEncoder().encode('thief\n') };
  transport = createRestServer({
    ...createStandInContext(createStandInStore(versions)),
    files: createStandInFiles(published),
    metricsPage: { contentType: 'text/plain', metrics: async () => '' },
    corsAllowedOrigins: [],
    timeoutMs: 30_000,
  });
  const { port } = await transport.listen({ host: '127.0.0.1', port: 0 });
  base = `http://127.0.0.1:${port}/nearfar/v1/models`;
});

afterAll(() => transport.close());

async function ask(path: string, input: unknown): Promise<{ status: number; answer: unknown }> {
  const body = typeof input === 'string' ? input : JSON.stringify(input);
  const response = await fetch(`${base}/${path}`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  return { status: response.status, answer: await response.json() };
}

const yes = { label: 'yes', index: 1, score: 0.75 };

test('classifies a text, alone or with another one, as the tokenizer of the version cuts it', async () => {
  const answers = [
    await ask('mood/versions/1/tasks/text-classification?topK=1', '"a"'),
    await ask('mood/tasks/text-classification?topK=1', { text: 'a' }),
    await ask('mood/tasks/text-classification?topK=1', { text: 'a', pair: 'a' }),
  ];

  const sent = runs.slice(-3).map(({ inputs }) => inputs['ids']);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(answers[0]!.answer).toMatchObject({ model_name: 'mood', model_version: '1', backend: 'tfjs-cpu', output: [yes] });
  expect(sent[0]).toEqual(sent[1]);
  expect(sent.map((tensor) => tensor!.shape)).toEqual([
    [1, 3],
    [1, 3],
    [1, 5],
  ]);
});

test('makes a vector of a text', async () => {
  const { answer } = await ask('meaning/tasks/embeddings', '"a"');

  expect(answer).toMatchObject({ output: [Math.fround(0.6), Math.fround(0.8)] });
});

test('classifies a row, and gives the numbers of a regression', async () => {
  const people = await ask('people/tasks/tabular-classification', { age: 50, job: 'nurse' });
  const price = await ask('price/tasks/tabular-regression', { job: 'pilot', age: null });

  expect(people.answer).toMatchObject({ output: [yes, { label: 'no', index: 0, score: 0.25 }] });
  expect(price.answer).toMatchObject({ output: [150] });
  expect(runs.slice(-2).map(({ inputs }) => [...(inputs['x']!.data as Float32Array)])).toEqual([
    [1, 1],
    [0, 9],
  ]);
});

test('classifies a sound', async () => {
  const { answer } = await ask('noise/tasks/audio-classification?topK=1', {
    sampleRate: 16_000,
    channels: [
      [0, 1],
      [1, 1],
    ],
  });

  expect(answer).toMatchObject({ output: [yes] });
  expect([...(runs.at(-1)!.inputs['samples']!.data as Float32Array)]).toEqual([0.5, 1, 0, 0]);
});

test.each([
  ['mood/tasks/text-classification', '{', 400, 'invalid-argument', /the body is not JSON/],
  ['mood/tasks/text-classification', '7', 400, 'invalid-argument', /a text is a string/],
  ['mood/tasks/text-classification?topK=0', '"a"', 400, 'invalid-argument', /topK=: expected a whole number/],
  ['mood/tasks/tabular-regression', '{}', 501, 'unsupported', /tiny version 1 has no task tabular-regression/],
  ['people/tasks/tabular-classification', '{"age":[1],"job":"cook"}', 400, 'invalid-argument', /at age .*a cell is/],
  ['people/tasks/tabular-classification', '{"agee":1}', 400, 'invalid-argument', /no column "agee"/],
  ['noise/tasks/audio-classification', '{"sampleRate":8000,"channels":[["loud"]]}', 400, 'invalid-argument', /channels\.0\.0 .*a sample/],
  ['nobody/tasks/text-classification', '"a"', 404, 'not-found', /Servable not found/],
  ['changed/tasks/tabular-regression', '{"age":1,"job":"cook"}', 500, 'integrity-mismatch', /jobs\.txt is not what/],
])('says what is wrong: %s %s', async (path, body, status, code, error) => {
  const got = await ask(path, body);

  expect(got).toMatchObject({ status, answer: { code, error: expect.stringMatching(error) } });
});
