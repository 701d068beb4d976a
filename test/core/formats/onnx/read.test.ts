import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ModelFile, ModelFolder } from '../../../../src/core/formats/model-folder.ts';
import { NearfarError, parseOnnxModel, readOnnx } from '../../../../src/core/index.ts';
import { bytesOf, openSession, ort } from '../../../support/onnx-graphs.ts';
import { type Fields, initializer, message, node, onnxModel, valueInfo } from '../../../support/onnx-writer.ts';
import { memoryFile } from '../savedmodel/folder.ts';

const weights = Float32Array.from({ length: 12 }, (_, index) => index - 5);
/** Two weights of the same values in one file, the second behind 16 bytes of something else. */
const weightFile = Buffer.concat([Buffer.from(weights.buffer), Buffer.alloc(16), Buffer.from(weights.buffer)]);

interface Place {
  readonly location?: string;
  readonly offset?: string;
  readonly length?: string;
}

function entries(place: Place): Fields {
  return Object.entries(place).map(([key, value]) => [
    13,
    message([
      [1, key],
      [2, value],
    ]),
  ]);
}

function externalTensor(name: string, place: Place, shape: readonly number[] = [3, 4]): Uint8Array {
  return message([...shape.map((size) => [1, size] as const), [2, 1], [8, name], ...entries(place), [14, 1]]);
}

/** `y = x * a + (an If whose branches hold b)`, with a and b in another file. */
function externalModel(a: Place, b: Place = { location: 'model.data', offset: '64', length: '48' }): Uint8Array {
  const branch = message([
    [5, externalTensor('b', b)],
    [1, node('Identity', ['b'], ['chosen'])],
    [2, 'branch'],
    [12, valueInfo('chosen', 1, [3, 4])],
  ]);
  const attribute = (name: string) =>
    [
      5,
      message([
        [1, name],
        [6, branch],
        [20, 5],
      ]),
    ] as const;
  return onnxModel([
    [1, node('Mul', ['x', 'a'], ['product'], [[3, 'scale']])],
    [1, node('If', ['yes'], ['other'], [attribute('then_branch'), attribute('else_branch')])],
    [1, node('Add', ['product', 'other'], ['y'])],
    [5, externalTensor('a', a)],
    [5, initializer('yes', 9, [], Uint8Array.of(1))],
    [11, valueInfo('x', 1, [3, 4])],
    [12, valueInfo('y', 1, [3, 4])],
  ]);
}

function folderOf(model: Uint8Array, more: Readonly<Record<string, Uint8Array>> = { 'model.data': weightFile }): ModelFolder {
  const files: [string, ModelFile][] = Object.entries({ 'model.onnx': model, ...more }).map(([path, bytes]) => [path, memoryFile(bytes)]);
  return new Map(files.sort(([a], [b]) => (a < b ? -1 : 1)));
}

describe('weights in other files', () => {
  test('are put into the one file, which runs as it should', async () => {
    const { model, emitted } = await readOnnx(folderOf(externalModel({ location: './model.data', offset: '0', length: '48' })));

    const bytes = await bytesOf(emitted);
    const session = await openSession(bytes);
    const { y } = await session.run({
      x: new ort.Tensor(
        'float32',
        Float32Array.from(weights, () => 2),
        [3, 4],
      ),
    });
    expect(Array.from(y!.data as Float32Array)).toEqual(Array.from(weights, (value) => 3 * value));
    expect(bytes.byteLength).toBe(emitted.files.get('model.onnx')!.byteLength);
    expect(parseOnnxModel(bytes).initializers).toEqual(model.initializers);
    const { start, end } = model.initializers.find(({ name }) => name === 'a')!;
    expect(bytes.slice(start, end)).toEqual(new Uint8Array(weights.buffer));
    expect(emitted.files.get('model.onnx')!.tensors).toContainEqual({ start, end });
    expect(model.operators).toContainEqual({ op: 'Mul', node: 'scale' });
    expect(model.ops).toEqual(['Add', 'Identity', 'If', 'Mul']);
  });

  test('lie relative to the folder of the model', async () => {
    const folder = folderOf(new Uint8Array(), {
      'nested/model.onnx': externalModel({ location: 'parts/model.data' }),
      'nested/parts/model.data': weightFile,
      'nested/model.data': weightFile,
    });

    const { emitted } = await readOnnx(folder, 'nested/model.onnx');

    expect((await bytesOf(emitted)).byteLength).toBeGreaterThan(96);
  });

  test.each(['/model.data', '../model.data', 'a/../../model.data', 'C:\\model.data', '..\\model.data', 'file:model.data', '', '.', 'a\0b'])(
    'are not sought at "%s"',
    async (location) => {
      await expect(readOnnx(folderOf(externalModel({ location })))).rejects.toMatchObject({ code: 'invalid-argument' });
    },
  );

  test.each([
    { offset: '100' },
    { offset: '-1' },
    { offset: '1e3' },
    { offset: '99999999999999999999' },
    { length: '44' },
    { length: '4800' },
    { length: '' },
  ])('are refused where their place is wrong: %o', async (place) => {
    await expect(readOnnx(folderOf(externalModel({ location: 'model.data', ...place })))).rejects.toMatchObject({
      code: 'invalid-argument',
    });
  });

  test('are missed when their file is absent', async () => {
    await expect(readOnnx(folderOf(externalModel({ location: 'other.data' })))).rejects.toMatchObject({
      code: 'not-found',
      details: { name: 'a', path: 'other.data' },
    });
    await expect(readOnnx(folderOf(externalModel({ location: 'model.data' })), 'other.onnx')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('of 2 GiB and more are refused without being read', async () => {
    const huge: ModelFile = { byteLength: 2 ** 33, read: () => Promise.reject(new Error('read')) };
    const shape = [2 ** 15, 2 ** 15];
    const model = onnxModel([
      [5, externalTensor('a', { location: 'model.data' }, shape)],
      [11, valueInfo('x', 1, [1])],
    ]);
    const folder = new Map([...folderOf(model), ['model.data', huge] as const]);

    await expect(readOnnx(folder)).rejects.toMatchObject({ code: 'unsupported' });
  });
});

test('a model whose weights are inside stays as it is', async () => {
  const bytes = new Uint8Array(await readFile(new URL('../../../../models/everyday10/1/onnx/model.onnx', import.meta.url)));

  const { model, emitted } = await readOnnx(folderOf(bytes));

  expect(Buffer.compare(await bytesOf(emitted), bytes)).toBe(0);
  expect(model).toEqual(parseOnnxModel(bytes));
});

test('says in what precision most weights are', async () => {
  const model = onnxModel([
    [5, externalTensor('a', { location: 'model.data' })],
    [5, initializer('b', 10, [200], new Uint8Array(400))],
    [11, valueInfo('x', 1, [1])],
  ]);

  expect((await readOnnx(folderOf(model))).emitted.precision).toBe('float16');
  expect((await readOnnx(folderOf(externalModel({ location: 'model.data' })))).emitted.precision).toBe('float32');
});

test('damaged files are refused by a typed error', async () => {
  const good = externalModel({ location: 'model.data' });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 }),
      fc.nat(good.length),
      fc.nat(weightFile.length),
      async (changes, length, dataLength) => {
        const changed = good.slice(0, changes.length === 0 ? length : good.length);
        for (const [index, value] of changes) changed[index] = value;
        try {
          const { emitted } = await readOnnx(folderOf(changed, { 'model.data': weightFile.subarray(0, dataLength) }));
          expect((await bytesOf(emitted)).byteLength).toBe(emitted.files.get('model.onnx')!.byteLength);
        } catch (error) {
          expect(error).toBeInstanceOf(NearfarError);
          expect(['invalid-argument', 'unsupported', 'not-found']).toContain((error as NearfarError).code);
        }
      },
    ),
    { numRuns: 500 },
  );
});
