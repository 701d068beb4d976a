import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { constantOf, functionOf } from '../../../../src/core/formats/graph/attributes.ts';
import type { Constant, GraphNode, ModelGraph } from '../../../../src/core/formats/graph/index.ts';
import { float16ToNumber, readGraphDef, readSavedModel, readTfRecords } from '../../../../src/core/index.ts';
import { constantsOf, countOps, readFolder } from './folder.ts';

// Models that TensorFlow made; test/fixtures/savedmodel/README.md says what each is.

const fixture = (path: string) => fileURLToPath(new URL(`../../../fixtures/savedmodel/${path}`, import.meta.url));
const read = (name: string) => readSavedModel(readFolder(fixture(name)));
const bytesOf = (path: string) => new Uint8Array(readFileSync(fixture(path)));
const textOf = (bytes: unknown) => new TextDecoder().decode(bytes as Uint8Array);

const ofOp = (nodes: ReadonlyMap<string, GraphNode>, op: string) => [...nodes.values()].filter((node) => node.op === op);
const numbersOf = async (constant: Constant) => Array.from((await constant.load()).data as Iterable<number | bigint>, Number);

/** Follows Identity to the constant that an output is. */
function constantBehind({ nodes, signatures }: ModelGraph, output: string, signature = 'serving_default'): Constant {
  let node = nodes.get(signatures[signature]!.outputs[output]!.edge.node)!;
  while (node.op === 'Identity') node = nodes.get(node.inputs[0]!.node)!;
  return constantOf(node);
}

describe('every recorded call', () => {
  interface Case {
    readonly dir: string;
    readonly file?: string;
    readonly signature: string;
    readonly inputs: Record<string, { dtype: string; shape: number[] }>;
    readonly outputs: Record<string, { dtype: string; shape: number[] }>;
  }
  const cases = JSON.parse(readFileSync(fixture('cases.json'), 'utf8')) as Case[];

  test.each(cases)('$dir $file $signature has its inputs and outputs', async ({ dir, file, signature, inputs, outputs }) => {
    const graph = file ? await readGraphDef(bytesOf(`${dir}/${file}`)) : await read(dir);

    const found = graph.signatures[signature]!;
    expect(Object.keys(found.inputs)).toEqual(Object.keys(inputs).sort());
    expect(Object.keys(found.outputs)).toEqual(Object.keys(outputs).sort());
    for (const [name, { dtype, shape, node }] of Object.entries(found.inputs)) {
      expect(dtype, name).toBe(inputs[name]!.dtype);
      expect(shape?.length ?? inputs[name]!.shape.length, name).toBe(inputs[name]!.shape.length);
      expect(graph.nodes.get(node)?.op).toBe('Placeholder');
    }
    for (const [name, { dtype }] of Object.entries(found.outputs)) expect(dtype, name).toBe(outputs[name]!.dtype);
    const left = [...graph.nodes.values(), ...[...graph.functions.values()].flatMap((body) => [...body.nodes.values()])];
    expect(
      left.map(({ op }) => op).filter((op) => /Var|Variable|Restore|Assign|PartitionedCall|NoOp|Assert|^Ref|Resource/.test(op)),
    ).toEqual([]);
  });
});

describe('variables', () => {
  test('of which each part is a part of a saved tensor', async () => {
    const graph = await read('partitioned');

    const shapes = ofOp(graph.nodes, 'Const').flatMap((node) =>
      /(table|kernel)\/part_\d$/.test(node.name) ? [[node.name, constantOf(node).shape]] : [],
    );
    expect(Object.fromEntries(shapes)).toEqual({
      'table/part_0': [3, 3],
      'table/part_1': [2, 3],
      'table/part_2': [2, 3],
      'kernel/part_0': [4, 3],
      'kernel/part_1': [4, 2],
    });
  });

  test('of which the graph does not say how they are restored are found by what it notes about them', async () => {
    const folder = readFolder(fixture('partitioned'));
    // saver_def (3) becomes a field that nobody knows (100 would need a longer tag: 15).
    const model = replaceTag(bytesOf('partitioned/saved_model.pb'), 3, 15);

    const graph = await readSavedModel(new Map([...folder, ['saved_model.pb', fileOf(model)]]));

    const restored = await read('partitioned');
    for (const name of ['table/part_1', 'kernel/part_1']) {
      const [a, b] = [constantOf(graph.nodes.get(name)!), constantOf(restored.nodes.get(name)!)];
      expect(await numbersOf(a)).toEqual(await numbersOf(b));
    }
  });

  test.each(['ref_variables', 'resource_variables'])(
    'of %s are constants, and those never saved have their initial values',
    async (name) => {
      const graph = await read(name);

      expect((await numbersOf(constantOf(graph.nodes.get('w')!))).length).toBe(6);
      const scale = graph.nodes.get('scale')!;
      expect([scale.op, graph.nodes.get(scale.inputs[0]!.node)?.op]).toEqual(['Identity', 'Fill']);
      expect(Object.keys(graph.unusable)).toEqual(['counted']);
      expect(graph.unusable['counted']).toEqual([expect.stringMatching(/op AssignAdd\w* \("AssignAdd\w*"\) changes/)]);
    },
  );

  test('of resource_variables are gathered from as from any tensor', async () => {
    const graph = await read('resource_variables');

    const [gather] = ofOp(graph.nodes, 'GatherV2');
    expect(gather!.inputs).toHaveLength(3);
    expect(gather!.attributes).toMatchObject({ Tparams: { value: 'float32' }, Taxis: { value: 'int32' }, batch_dims: { value: 0 } });
    expect(await numbersOf(constantOf(graph.nodes.get(gather!.inputs[2]!.node)!))).toEqual([0]);
  });

  test('of strings are read from the bundle', async () => {
    const graph = await read('shared');

    const names = [...constantsOf(graph)].find(({ dtype }) => dtype === 'string')!;
    expect(Array.from((await names.load()).data, textOf)).toEqual(['no', 'yes']);
  });

  test('are one constant for all signatures', async () => {
    const { nodes, unusable } = await read('shared');

    const weights = ofOp(nodes, 'MatMul').map((node) => {
      let source = nodes.get(node.inputs[1]!.node)!;
      while (source.op === 'Identity') source = nodes.get(source.inputs[0]!.node)!;
      return constantOf(source);
    });
    expect(weights).toHaveLength(2);
    expect(weights[0]).toBe(weights[1]);
    expect(Object.keys(unusable)).toEqual(['count']);
  });
});

describe('tables', () => {
  test('of TensorFlow 1 hold columns of a vocabulary file, or constants', async () => {
    const { nodes } = await read('table_v1');

    const contents = await Promise.all(
      ofOp(nodes, 'HashTableV2').map(async (node) => {
        const [keys, values] = [await constantOf(node, 'keys').load(), await constantOf(node, 'values').load()];
        return [Array.from(keys.data, textOf), Array.from(values.data as Iterable<number | bigint>, Number)];
      }),
    );
    expect(contents).toContainEqual([
      ['cat', 'dog', 'bär'],
      [3, 5, -7],
    ]);
    expect(contents).toContainEqual([
      ['a', 'b'],
      [1.5, 2.5],
    ]);
    for (const find of ofOp(nodes, 'LookupTableFindV2')) expect(nodes.get(find.inputs[0]!.node)?.op).toBe('HashTableV2');
  });

  test('of TensorFlow 2 hold the lines of a vocabulary file and their numbers', async () => {
    const { nodes } = await read('text');

    const [table] = ofOp(nodes, 'HashTableV2');
    expect(Array.from((await constantOf(table!, 'keys').load()).data, textOf)).toEqual(['cat', 'dog', 'bär']);
    expect(await numbersOf(constantOf(table!, 'values'))).toEqual([0, 1, 2]);
    expect(countOps(nodes.values())).toMatchObject({
      StringLower: 1,
      StringSplitV2: 1,
      StringToHashBucketFast: 1,
      RaggedTensorToTensor: 1,
    });
  });

  test('whose vocabulary file is missing say so', async () => {
    const reading = readSavedModel(readFolder(fixture('text'), { 'assets/nearfar-vocabulary.txt': undefined }));

    await expect(reading).rejects.toMatchObject({ code: 'unsupported', message: expect.stringContaining('assets/nearfar-vocabulary.txt') });
  });
});

describe('control flow', () => {
  test('of TensorFlow 2 keeps its functions, which have weights and tables of their own', async () => {
    const { nodes, functions } = await read('loops');

    const [loop] = ofOp(nodes, 'While');
    const body = functions.get(functionOf(loop!, 'body'))!;
    expect(body.inputs).toHaveLength(loop!.inputs.length);
    expect(body.outputs).toHaveLength(loop!.inputs.length);
    expect(functions.get(functionOf(loop!, 'cond'))!.inputs).toHaveLength(loop!.inputs.length);
    expect(loop!.attributes['T']).toMatchObject({ value: expect.not.arrayContaining([expect.objectContaining({ value: 'resource' })]) });
    const [branch] = ofOp(body.nodes, 'If');
    const then = functions.get(functionOf(branch!, 'then_branch'))!;
    const otherwise = functions.get(functionOf(branch!, 'else_branch'))!;
    expect(countOps(then.nodes.values())).toMatchObject({ MatMul: 1, Tanh: 1 });
    expect(countOps(otherwise.nodes.values())).toMatchObject({ LookupTableFindV2: 1, HashTableV2: 1 });
    const [last] = ofOp(nodes, 'If');
    const behind = functions.get(functionOf(last!, 'then_branch'))!;
    const weight = (some: ReadonlyMap<string, GraphNode>) =>
      ofOp(some, 'Const')
        .map((node) => constantOf(node))
        .find(({ shape }) => shape.join() === '2,2');
    expect(weight(then.nodes)).toBeDefined();
    expect(weight(then.nodes)).toBe(weight(behind.nodes));
  });

  test('of TensorFlow 1 keeps the waiting of constants, and no other', async () => {
    const { nodes } = await read('control_flow_v1');

    expect(countOps(nodes.values())).toMatchObject({ LoopCond: 2, NextIteration: 4, Exit: 2, TensorArrayV3: 1 });
    const waiting = [...nodes.values()].filter(({ controls }) => controls.length > 0);
    expect(waiting.length).toBeGreaterThan(0);
    expect(new Set(waiting.map(({ op, inputs }) => `${op} of ${inputs.length}`))).toEqual(new Set(['Const of 0']));
  });

  test('of an LSTM is a loop over TensorLists', async () => {
    const { nodes, functions } = await read('lstm');

    const [loop] = ofOp(nodes, 'While');
    const body = functions.get(functionOf(loop!, 'body'))!;
    expect(countOps(body.nodes.values())).toMatchObject({ TensorListGetItem: 1, TensorListSetItem: 1, MatMul: 2 });
    expect(ofOp(body.nodes, 'Const').filter((node) => constantOf(node).shape.length === 2)).toHaveLength(2);
  });
});

test('constants of every type have the values TensorFlow gives', async () => {
  const graph = await read('types');

  const data = async (name: string) => Array.from((await constantBehind(graph, name).load()).data as Iterable<number>);
  expect((await data('half')).map(float16ToNumber)).toEqual([0.5, -2, 65504]);
  expect(await data('bfloat')).toEqual([0x3f00, 0x4040]);
  expect(await data('double')).toEqual([Math.PI]);
  expect(await data('int8')).toEqual([-128, 127]);
  expect(await data('uint8')).toEqual([255]);
  expect(await data('int16')).toEqual([-32768]);
  expect(await data('uint16')).toEqual([65535]);
  expect(await data('uint32')).toEqual([4294967295]);
  expect(await data('uint64')).toEqual([2n ** 64n - 1n]);
  expect(await data('int64')).toEqual([-(2n ** 63n), 2n ** 63n - 1n]);
  expect(await data('bool')).toEqual([1, 0]);
  expect(await data('complex')).toEqual([1, 2]);
  expect(await data('string')).toEqual([Uint8Array.of(0, 255), new Uint8Array()]);
  expect(await data('zeros')).toEqual(Array(9).fill(0n));
  expect(constantBehind(graph, 'empty').shape).toEqual([0, 2]);
});

test('a ParseExample keeps its outputs in order, where a signature feeds some of them', async () => {
  const { signatures, nodes } = await read('parse_example');

  expect(signatures['serving_default']).toMatchObject({ method: 'classify' });
  expect(signatures['parsed']!.inputs).toMatchObject({ n: { dtype: 'int64', shape: [-1] }, x: { dtype: 'float32', shape: [-1, 2] } });
  expect(countOps(nodes.values())).toMatchObject({ ParseExampleV2: 1, Placeholder: 3, Softmax: 2 });
});

describe('the text form', () => {
  test('of a SavedModel gives the same graph', async () => {
    const [binary, text] = [await read('shared'), await read('shared_text')];

    expect(text.signatures).toEqual(binary.signatures);
    expect(text.unusable).toEqual(binary.unusable);
    expect([...text.nodes.keys()].sort()).toEqual([...binary.nodes.keys()].sort());
    for (const [name, node] of binary.nodes) {
      const { value, ...attributes } = node.attributes;
      expect(text.nodes.get(name), name).toMatchObject({ op: node.op, inputs: node.inputs, attributes });
      if (value?.kind !== 'tensor') continue;
      expect(await constantOf(text.nodes.get(name)!).load()).toEqual(await value.value.load());
    }
  });

  test('of a frozen graph gives the same graph', async () => {
    const [binary, text] = [await readGraphDef(bytesOf('frozen/frozen.pb')), await readGraphDef(bytesOf('frozen/frozen.pbtxt'))];

    expect(text.signatures).toEqual(binary.signatures);
    expect(await numbersOf(constantOf(text.nodes.get('w')!))).toEqual(await numbersOf(constantOf(binary.nodes.get('w')!)));
  });
});

describe('a TFRecord file', () => {
  test('is read to its records', () => {
    const records = readTfRecords(bytesOf('records.tfrecord'));

    expect(records.map(({ length }) => length)).toEqual([0, 3, 1024]);
    expect(textOf(records[1])).toBe('one');
    expect(records[2]!.every((byte, index) => byte === index % 256)).toBe(true);
  });

  test('with a flipped bit, or an end that is missing, is refused', () => {
    const bytes = bytesOf('records.tfrecord');
    for (let position = 0; position < bytes.length; position++) {
      const flipped = bytes.slice();
      flipped[position]! ^= 4;
      expect(() => readTfRecords(flipped), `bit in ${position}`).toThrow(expect.objectContaining({ code: 'integrity-mismatch' }));
    }
    expect(() => readTfRecords(bytes.subarray(0, bytes.length - 1))).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  });
});

function fileOf(bytes: Uint8Array) {
  return { byteLength: bytes.length, read: async (start: number, end: number) => bytes.slice(start, end) };
}

/** Renumbers a length-delimited field of the first MetaGraphDef. */
function replaceTag(model: Uint8Array, from: number, to: number): Uint8Array {
  const bytes = model.slice();
  const varint = (position: number): [number, number] => {
    let value = 0;
    for (let shift = 0; ; shift += 7, position++) {
      value += (bytes[position]! & 127) * 2 ** shift;
      if (bytes[position]! < 128) return [value, position + 1];
    }
  };
  // saved_model_schema_version takes two bytes, the tag of meta_graphs one.
  const [length, start] = varint(3);
  for (let position = start; position < start + length; ) {
    const [size, content] = varint(position + 1);
    if (bytes[position] === from * 8 + 2) bytes[position] = to * 8 + 2;
    position = content + size;
  }
  return bytes;
}
