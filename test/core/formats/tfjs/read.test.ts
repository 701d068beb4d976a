import { dirname } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { attribute, toConstant } from '../../../../src/core/formats/graph/index.ts';
import type { ModelFolder } from '../../../../src/core/formats/model-folder.ts';
import { createTensor, float16ToNumber, numberToFloat16, readTfjsGraph, writeTfjsGraph } from '../../../../src/core/index.ts';
import { GraphBuilder, modelGraph } from '../../../support/graph-builder.ts';
import { sharedData } from '../../../support/shared-data.ts';
import { diskFolder, emittedFolder, memoryFile, readEmitted, runEmitted, runGraphModel } from '../../../support/tfjs-graph-run.ts';

const float32 = { precision: 'float32' } as const;

/** Numbers between -1 and 1 that are the same on every machine. */
function numbers(shape: readonly number[]): tf.Tensor {
  const size = shape.reduce((product, length) => product * length, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, (_, index) => Math.sin(index * 0.7)),
    [...shape],
  );
}

describe('a real model read and written again answers the same to the last bit', () => {
  test.for([
    ['kws-graph', [2, 49, 10, 1], 'cpu'],
    ['blazeface-graph', [1, 256, 256, 3], 'wasm'],
    ['selfie-graph', [1, 256, 256, 3], 'cpu'],
    ['mobilenetv2-dq-graph', [1, 224, 224, 3], 'wasm'],
    ['mobilenetv2-dq-graph-f16', [1, 224, 224, 3], 'wasm'],
  ] as const)('%s', async ([name, shape, backend], context) => {
    const path = sharedData(`tfjs/${name}/model.json`);
    if (path === undefined) return context.skip('the shared data is absent');
    if (backend === 'wasm') await import('@tensorflow/tfjs-backend-wasm');
    const all = await diskFolder(dirname(path));
    const graph = await readTfjsGraph(all);
    const { inputs, outputs } = graph.signatures['serving_default']!;
    const [input] = Object.entries(inputs);
    const x = numbers(shape);
    const { signature, userDefinedMetadata } = JSON.parse(
      new TextDecoder().decode(await all.get('model.json')!.read(0, all.get('model.json')!.byteLength)),
    );
    const own = (userDefinedMetadata?.signature ?? signature).outputs as Record<string, { name: string }>;

    const written = await runEmitted(await writeTfjsGraph(graph, float32), 'serving_default', { [input![0]]: x }, { backend });
    const keys = Object.keys(outputs);
    const original = await runGraphModel(
      all,
      { [input![1].node]: x },
      keys.map((key) => own[key]!.name),
      { backend },
    );

    expect(keys.length).toBeGreaterThan(0);
    for (const [index, key] of keys.entries()) {
      expect(written[key]!.shape).toEqual(original[index]!.shape);
      const different = original[index]!.values.filter((value, place) => !Object.is(value, written[key]!.values[place]));
      expect(different.length).toBe(0);
    }
    expect(original[0]!.values.some((value) => value !== original[0]!.values[0])).toBe(true);
  });
});

test('what was written is read again: signatures, types, tables, loops', async () => {
  const graph = new GraphBuilder();
  const text = new TextEncoder();
  const ids = graph.input('ids', 'int64', [-1]);
  const table = graph.op('table', 'HashTableV2', [], {
    key_dtype: attribute.type('int64'),
    value_dtype: attribute.type('string'),
    keys: attribute.tensor(toConstant(createTensor('int64', [2], BigInt64Array.of(1n, 2n)))),
    values: attribute.tensor(toConstant(createTensor('string', [2], [text.encode('one'), text.encode('zwei')]))),
  });
  const none = graph.constant('none', createTensor('string', [], [text.encode('')]));
  const word = graph.op('word', 'LookupTableFindV2', [table, ids, none]);
  const halved = graph.op('halved', 'Cast', [ids], { SrcT: attribute.type('int64'), DstT: attribute.type('float64') });
  const model = modelGraph(graph, {
    words: { inputs: ['ids'], outputs: { word: [word, 'string'], same: [ids, 'int64'] } },
    numbers: { inputs: ['ids'], outputs: { y: [halved, 'float64'] } },
  });
  const first = await writeTfjsGraph(model, float32);

  const again = await readTfjsGraph(await emittedFolder(first));
  const second = await writeTfjsGraph(again, float32);
  const third = await writeTfjsGraph(await readTfjsGraph(await emittedFolder(second)), float32);

  expect(again.signatures['words']).toMatchObject({
    inputs: { ids: { dtype: 'int64', shape: [-1] } },
    outputs: { word: { dtype: 'string' }, same: { dtype: 'int64' } },
  });
  const x = tf.tensor1d([2, 3, 1], 'int32');
  for (const emitted of [first, second, third]) {
    expect(await runEmitted(emitted, 'words', { ids: x })).toEqual({
      word: { shape: [3], values: ['zwei', '', 'one'] },
      same: { shape: [3], values: [2, 3, 1] },
    });
    expect(await runEmitted(emitted, 'numbers', { ids: x })).toEqual({ y: { shape: [3], values: [2, 3, 1] } });
  }
});

/** A model.json of these nodes with these weights, in shards of a few bytes each. */
function graphModel(document: Record<string, unknown>, weights: readonly object[], bytes: Uint8Array, shardBytes = 7): ModelFolder {
  const shards: [string, Uint8Array][] = [];
  for (let start = 0; start < bytes.byteLength; start += shardBytes) {
    shards.push([`shard${shards.length}.bin`, bytes.subarray(start, start + shardBytes)]);
  }
  const weightsManifest = [{ paths: shards.map(([name]) => name), weights }];
  const json = JSON.stringify({ format: 'graph-model', ...document, weightsManifest });
  return new Map([
    ['model.json', memoryFile(new TextEncoder().encode(json))],
    ...shards.map(([name, content]) => [name, memoryFile(content)] as const),
  ]);
}

const constant = (name: string) => ({ name, op: 'Const', attr: { dtype: { type: 'DT_FLOAT' } } });

test('weights across the borders of shards, quantised in every way, are read each when asked for', async () => {
  const halves = Uint16Array.of(numberToFloat16(0.1), numberToFloat16(-2));
  const text = new TextEncoder().encode('größe');
  const bytes = new Uint8Array([
    ...new Uint8Array(Float32Array.of(1.5, -2.5).buffer),
    ...new Uint8Array(halves.buffer),
    ...[0, 128, 255],
    ...new Uint8Array(Uint16Array.of(0, 65535).buffer),
    ...[2, 4],
    ...[text.byteLength, 0, 0, 0, ...text, 0, 0, 0, 0],
    ...[1, 0],
  ]);
  const weights = [
    { name: 'plain', shape: [2], dtype: 'float32' },
    { name: 'half', shape: [2], dtype: 'float32', quantization: { dtype: 'float16', original_dtype: 'float32' } },
    { name: 'byte', shape: [3], dtype: 'float32', quantization: { dtype: 'uint8', scale: 0.5, min: -1 } },
    { name: 'short', shape: [2], dtype: 'float32', quantization: { dtype: 'uint16', scale: 2 / 65535, min: -1 } },
    { name: 'whole', shape: [2], dtype: 'int32', quantization: { dtype: 'uint8', scale: 1.5, min: 0.1 } },
    { name: 'text', shape: [2], dtype: 'string' },
    { name: 'flags', shape: [2], dtype: 'bool' },
  ];
  const names = weights.map(({ name }) => name);
  const folder = graphModel(
    {
      modelTopology: { node: names.map(constant), versions: {} },
      signature: {
        inputs: {},
        outputs: Object.fromEntries(
          weights.map(({ name, dtype }) => [
            name,
            { name, dtype: dtype === 'string' ? 'DT_STRING' : dtype === 'bool' ? 'DT_BOOL' : dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT' },
          ]),
        ),
      },
    },
    weights,
    bytes,
  );

  const { nodes } = await readTfjsGraph(folder);
  const values = await Promise.all(names.map(async (name) => [...(await attribute.constantOf(nodes.get(name)!).load()).data]));

  expect(values).toEqual([
    [1.5, -2.5],
    [...halves].map((bits) => Math.fround(float16ToNumber(bits))),
    [-1, 63, 126.5],
    [-1, 1],
    [3, 6],
    [text, new Uint8Array()],
    [1, 0],
  ]);
});

test('functions of a library become functions of the graph, outputs by name and number', async () => {
  const arg = (name: string, type = 'DT_FLOAT') => ({ name, type });
  const one = { name: 'one', op: 'Const', attr: { dtype: { type: 'DT_FLOAT' } } };
  const folder = graphModel(
    {
      modelTopology: {
        node: [
          { name: 'x', op: 'Placeholder', attr: { dtype: { type: 'DT_FLOAT' }, shape: { shape: { dim: [{ size: 4 }] } } } },
          { name: 'zero', op: 'Const' },
          {
            name: 'loop',
            op: 'StatelessWhile',
            input: ['zero', 'x'],
            attr: { cond: { func: { name: 'c' } }, body: { func: { name: 'b' } } },
          },
          { name: 'best', op: 'TopKV2', input: ['loop:1', 'k'], attr: { sorted: { b: true }, T: { type: 'DT_FLOAT' } } },
          { name: 'k', op: 'Const' },
        ],
        library: {
          function: [
            {
              signature: { name: 'c', inputArg: [arg('i'), arg('v')], outputArg: [arg('out', 'DT_BOOL')] },
              nodeDef: [
                { name: 'three', op: 'Const' },
                { name: 'less', op: 'Less', input: ['i', 'three:output:0'] },
              ],
              ret: { out: 'less:z:0' },
            },
            {
              signature: { name: 'b', inputArg: [arg('i'), arg('v')], outputArg: [arg('a'), arg('b')] },
              nodeDef: [
                one,
                { name: 'next', op: 'AddV2', input: ['i', 'one:output:0'] },
                { name: 'top', op: 'TopKV2', input: ['v', 'four:output:0'] },
                { name: 'four', op: 'Const' },
                { name: 'order', op: 'Cast', input: ['top:indices:0'], attr: { SrcT: { type: 'DT_INT32' }, DstT: { type: 'DT_FLOAT' } } },
                { name: 'sum', op: 'AddV2', input: ['v', 'order:y:0'] },
              ],
              ret: { a: 'next:z:0', b: 'sum:z:0' },
            },
          ],
        },
        versions: {},
      },
      signature: {
        inputs: { x: { name: 'x:0', dtype: 'DT_FLOAT', tensorShape: { dim: [{ size: '4' }] } } },
        outputs: { y: { name: 'best:1', dtype: 'DT_INT32' }, v: { name: 'loop:1', dtype: 'DT_FLOAT' } },
      },
    },
    ['zero', 'three', 'one']
      .map((name) => ({ name, shape: [], dtype: 'float32' }))
      .concat(['four', 'k'].map((name) => ({ name, shape: [], dtype: 'int32' }))),
    new Uint8Array([...new Uint8Array(Float32Array.of(0, 3, 1).buffer), ...new Uint8Array(Int32Array.of(4, 2).buffer)]),
  );

  const emitted = await writeTfjsGraph(await readTfjsGraph(folder), float32);
  const results = await runEmitted(emitted, 'serving_default', { x: tf.tensor1d([0, 1, 2, 3]) });

  expect(results['v']!.values).toEqual(afterThreeTurns([0, 1, 2, 3]));
});

/** The body of the loop above, three times, in plain arithmetic. */
function afterThreeTurns(start: readonly number[]): number[] {
  let values = [...start];
  for (let turn = 0; turn < 3; turn++) {
    const order = values.map((_, index) => index).sort((a, b) => values[b]! - values[a]! || a - b);
    values = values.map((value, index) => value + order[index]!);
  }
  return values;
}

test('a table that the converter feeds through the signature is found by its resource', async () => {
  const folder = graphModel(
    {
      modelTopology: {
        node: [
          { name: 'x', op: 'Placeholder', attr: { dtype: { type: 'DT_INT64' }, shape: { shape: { dim: [{ size: '-1' }] } } } },
          { name: 'captured', op: 'Placeholder', attr: { dtype: { type: 'DT_RESOURCE' }, shape: { shape: {} } } },
          { name: 'default', op: 'Const' },
          { name: 'find', op: 'LookupTableFindV2', input: ['captured', 'x', 'default'], attr: { Tin: { type: 'DT_INT64' } } },
        ],
        versions: {},
      },
      modelInitializer: {
        node: [
          { name: 'k', op: 'Const' },
          { name: 'v', op: 'Const' },
          { name: 'made', op: 'HashTableV2', attr: { key_dtype: { type: 'DT_INT64' }, value_dtype: { type: 'DT_FLOAT' } } },
          { name: 'fill', op: 'LookupTableImportV2', input: ['made', 'k', 'v'] },
          { name: 'Identity', op: 'Identity', input: ['made', '^fill'] },
        ],
      },
      initializerSignature: { outputs: { Identity: { name: 'Identity', resourceId: 5 } } },
      signature: {
        inputs: {
          x: { name: 'x:0', dtype: 'DT_INT64', tensorShape: { dim: [{ size: '-1' }] } },
          table: { name: 'captured:0', dtype: 'DT_RESOURCE', resourceId: 5 },
        },
        outputs: { y: { name: 'find:0', dtype: 'DT_FLOAT' } },
      },
    },
    [
      { name: 'default', shape: [], dtype: 'float32' },
      { name: 'k', shape: [2], dtype: 'int32' },
      { name: 'v', shape: [2], dtype: 'float32' },
    ],
    new Uint8Array([
      ...new Uint8Array(Float32Array.of(-1).buffer),
      ...new Uint8Array(Int32Array.of(3, 4).buffer),
      ...new Uint8Array(Float32Array.of(30, 40).buffer),
    ]),
  );

  const emitted = await writeTfjsGraph(await readTfjsGraph(folder), float32);

  expect((await runEmitted(emitted, 'serving_default', { x: tf.tensor1d([4, 9], 'int32') }))['y']?.values).toEqual([40, -1]);
});

describe('refused', () => {
  const node = (name: string, op: string, input: string[] = []) => ({ name, op, input });
  const base = {
    modelTopology: { node: [node('x', 'Placeholder'), node('y', 'Neg', ['x'])], versions: {} },
    signature: { inputs: { x: { name: 'x', dtype: 'DT_FLOAT' } }, outputs: { y: { name: 'y', dtype: 'DT_FLOAT' } } },
  };
  const topology = (...nodes: unknown[]) => ({ modelTopology: { node: nodes, versions: {} } });

  test.each([
    ['a node that reads none of the graph', topology(node('x', 'Placeholder'), node('y', 'Neg', ['gone']))],
    ['two nodes of one name', topology(node('x', 'Placeholder'), node('x', 'Neg', ['x']))],
    ['a constant without a weight', topology(node('x', 'Placeholder'), node('w', 'Const'), node('y', 'Add', ['x', 'w']))],
    ['a cycle', topology(node('x', 'Placeholder'), node('y', 'Add', ['x', 'z']), node('z', 'Neg', ['y']))],
    ['an output index that is none', topology(node('x', 'Placeholder'), node('y', 'Neg', ['x:-1']))],
    ['attributes that are none', topology(node('x', 'Placeholder'), { ...node('y', 'Neg', ['x']), attr: [] })],
    ['a string that is no base64', topology(node('x', 'Placeholder'), { ...node('y', 'Neg', ['x']), attr: { padding: { s: '***' } } })],
    ['a signature of tensors that are not there', { signature: { inputs: {}, outputs: { y: { name: 'gone', dtype: 'DT_FLOAT' } } } }],
    ['a library that is no list', { modelTopology: { ...base.modelTopology, library: { function: {} } } }],
    ['a function without a name', { modelTopology: { ...base.modelTopology, library: { function: [{}] } } }],
  ])('%s', async (_, change) => {
    const reading = readTfjsGraph(graphModel({ ...base, ...change }, [], new Uint8Array()));

    await expect(reading).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test.each(['../secret.bin', '/etc/passwd', 'a/../../b', 'a\\..\\b', ''])('a shard named %j', async (path) => {
    const json = JSON.stringify({ ...base, weightsManifest: [{ paths: [path], weights: [] }] });
    const folder = new Map([
      ['deep/model.json', memoryFile(new TextEncoder().encode(json))],
      ['secret.bin', memoryFile(new Uint8Array())],
    ]);

    await expect(readTfjsGraph(folder, 'deep/model.json')).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test('a missing shard, a missing model.json', async () => {
    const json = JSON.stringify({ ...base, weightsManifest: [{ paths: ['w.bin'], weights: [] }] });

    await expect(readTfjsGraph(new Map([['model.json', memoryFile(new TextEncoder().encode(json))]]))).rejects.toMatchObject({
      code: 'not-found',
    });
    await expect(readTfjsGraph(new Map())).rejects.toMatchObject({ code: 'not-found' });
  });

  test.each([
    ['a shape larger than any file', [{ name: 'w', shape: [2 ** 40], dtype: 'float32' }]],
    ['a shape beyond all numbers', [{ name: 'w', shape: [2 ** 50, 2 ** 50, 0], dtype: 'float32' }]],
    ['strings without end', [{ name: 'w', shape: [2 ** 45], dtype: 'string' }]],
    ['a string that leaves the file', [{ name: 'w', shape: [1], dtype: 'string' }]],
    ['too few weights', []],
    [
      'two weights of one name',
      [
        { name: 'w', shape: [], dtype: 'float32' },
        { name: 'w', shape: [], dtype: 'float32' },
      ],
    ],
    ['a scale that is none', [{ name: 'w', shape: [8], dtype: 'float32', quantization: { dtype: 'uint8', scale: 'x', min: 0 } }]],
    ['channels along no axis', [{ name: 'w', shape: [8], dtype: 'float32', quantization: { dtype: 'uint8-per-channel', axis: 1 } }]],
  ])('%s', async (_, weights) => {
    const reading = readTfjsGraph(graphModel(base, weights, new Uint8Array(8).fill(255)));

    await expect(reading).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test('a signature whose table nothing fills, by name', async () => {
    const change = topology(node('x', 'Placeholder'), node('t', 'HashTableV2'), node('y', 'LookupTableSizeV2', ['t']));

    await expect(readTfjsGraph(graphModel({ ...base, ...change }, [], new Uint8Array()))).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('HashTableV2 t is given no value'),
    });
  });
});

test('damaged bytes end in a typed error or in a graph, never in anything else', { timeout: 120_000 }, async () => {
  const graph = new GraphBuilder();
  const x = graph.input('x', 'float32', [-1, 3]);
  const y = graph.op('y', 'MatMul', [x, graph.floats('w', [1, 2, 3, 4, 5, 6], [3, 2])], { transpose_b: attribute.bool(false) });
  const table = graph.op('t', 'HashTableV2', [], {
    key_dtype: attribute.type('string'),
    value_dtype: attribute.type('int32'),
    keys: attribute.tensor(toConstant(createTensor('string', [2], [Uint8Array.of(65), Uint8Array.of(66, 67)]))),
    values: attribute.tensor(toConstant(createTensor('int32', [2], Int32Array.of(1, 2)))),
  });
  const size = graph.op('size', 'LookupTableSizeV2', [table]);
  const emitted = await writeTfjsGraph(
    modelGraph(graph, { a: { inputs: ['x'], outputs: { y: [y, 'float32'] } }, b: { inputs: [], outputs: { size: [size, 'int32'] } } }),
    float32,
  );
  const [json, weights] = await Promise.all(['model.json', 'weights.bin'].map((name) => readEmitted(emitted.files.get(name)!)));
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const outcomes = { read: 0, refused: 0 };

  for (let round = 0; round < 4000; round++) {
    const [damagedJson, damagedWeights] = [json!.slice(), weights!.slice()];
    const target = round % 4 === 0 ? damagedWeights : damagedJson;
    for (let flips = 1 + random(3); flips > 0; flips--) {
      // Digits, quotes and brackets reach further than noise, which only breaks the JSON.
      const at = random(target.length);
      target[at] = target === damagedWeights ? random(256) : '0123456789-:,"{}[]^x'.charCodeAt(random(20));
    }
    const cut = random(10) === 0 ? random(damagedWeights.length) : damagedWeights.length;
    const folder = new Map([
      ['model.json', memoryFile(random(20) === 0 ? damagedJson.subarray(0, random(damagedJson.length)) : damagedJson)],
      ['weights.bin', memoryFile(damagedWeights.subarray(0, cut))],
    ]);
    try {
      const { nodes } = await readTfjsGraph(folder);
      for (const node of nodes.values()) if (node.op === 'Const') await attribute.constantOf(node).load();
      outcomes.read++;
    } catch (error) {
      expect(error).toMatchObject({ code: expect.stringMatching(/^(invalid-argument|unsupported|not-found)$/) });
      outcomes.refused++;
    }
  }

  expect(outcomes.read).toBeGreaterThan(100);
  expect(outcomes.refused).toBeGreaterThan(1000);
});
