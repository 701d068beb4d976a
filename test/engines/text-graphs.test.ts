import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTensor, type Engine, type VariantSource } from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { bool, graphSource, int, node, placeholder, strings, stringsOf, text, texts, type, weight } from '../support/graph-models.ts';
import { textClassifier } from '../support/text-classifier.ts';

const platform = await openNodePlatform({ allowSoftwareAdapter: true });
const backends = ['tfjs-cpu', 'tfjs-wasm', ...(platform.gpu ? (['tfjs-webgpu'] as const) : [])] as const;
if (!platform.gpu) console.warn(`skipping tfjs-webgpu in Node: ${platform.gpuAbsence}`);

describe.each(backends)('text models on %s', (backend) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(async () => {
    expect(engine.memory()).toMatchObject({ bytes: 0, variants: 0 });
    await engine[Symbol.asyncDispose]();
  });

  async function run(
    source: VariantSource,
    inputs: Parameters<Awaited<ReturnType<Engine['load']>>['run']>[0]['inputs'],
    outputs?: string[],
  ) {
    await using loaded = await engine.load(source);
    const first = await loaded.run({ signature: 'serving_default', inputs, ...(outputs && { outputs }) });
    const tensors = engine.memory().tensors;
    const again = await loaded.run({ signature: 'serving_default', inputs, ...(outputs && { outputs }) });
    expect(again).toEqual(first);
    expect(engine.memory().tensors).toBe(tensors); // nothing is left behind by a run
    return first;
  }

  test('standardises, splits, looks up, embeds and scores as the parts say', async () => {
    const { source, expected } = textClassifier();

    const { scores, tokens } = await run(source, { text: strings(['The cat, the DOG!', 'unseen', '']) });

    expect(tokens).toEqual(createTensor('int64', [3, 4], BigInt64Array.of(2n, 3n, 2n, 4n, 1n, 0n, 0n, 0n, 0n, 0n, 0n, 0n)));
    expect(scores!.shape).toEqual([3, 2]);
    for (const [index, value] of (scores!.data as Float32Array).entries()) expect(value).toBeCloseTo(expected[index]!, 5);
  });

  test('gives outputs of the host alone without the device, and inputs back', async () => {
    const { source } = textClassifier();

    const { clean } = await run(source, { text: strings(['A-B c!']) }, ['clean']);
    const { y } = await run(
      graphSource({
        nodes: [placeholder('y', 'string')],
        signatures: { serving_default: { inputs: { y: 'string' }, outputs: { y: 'string' } } },
      }),
      { y: strings([Uint8Array.of(0xff)]) },
    );

    expect(stringsOf(clean!)).toEqual(['ab c']);
    expect(y!.data).toEqual([Uint8Array.of(0xff)]);
  });

  test('hands on bytes that are no UTF-8 as they are, whatever moves them', async () => {
    const strs = { T: type('string') };
    const [first, second] = [Uint8Array.of(0xff, 0), Uint8Array.of(0xfe)];
    const numbers = (name: string, values: readonly number[], sizes = [values.length]) => weight(name, 'int32', sizes, values);
    const source = graphSource({
      nodes: [
        placeholder('x', 'string'),
        node('concat', 'ConcatV2', ['x', 'x', 'zero'], { N: int(2), ...strs }),
        node('pack', 'Pack', ['x', 'x'], { N: int(2), axis: int(1), ...strs }),
        node('transpose', 'Transpose', ['pack', 'order'], strs),
        node('slice', 'Slice', ['x', 'one1', 'one1'], strs),
        node('strided', 'StridedSlice', ['x', 'end', 'start', 'back'], { begin_mask: int(1), end_mask: int(1), ...strs }),
        node('reverse', 'ReverseV2', ['x', 'zero1'], strs),
        node('tile', 'Tile', ['x', 'two1'], strs),
        node('pad', 'PadV2', ['x', 'pads', 'dash'], strs),
        node('gather', 'GatherNd', ['x', 'places'], { Tparams: type('string') }),
        node('scalar', 'GatherNd', ['x', 'one1'], { Tparams: type('string') }),
        node('fill', 'Fill', ['two1', 'scalar'], strs),
        node('split', 'Split', ['zero', 'x'], { num_split: int(2), ...strs }),
        node('splitv', 'SplitV', ['x', 'sizes', 'zero'], { num_split: int(2), ...strs }),
        node('rows', 'GatherV2', ['x', 'places', 'zero'], { Tparams: type('string'), batch_dims: int(0) }),
        node('select', 'SelectV2', ['equal', 'x', 'dash'], strs),
        node('unpack', 'Unpack', ['x'], { num: int(2), axis: int(0), ...strs }),
        node('equal', 'Equal', ['x', 'scalar'], strs),
        node('differ', 'NotEqual', ['x', 'scalar'], strs),
      ],
      weights: [
        ...[numbers('zero', [0], []), numbers('zero1', [0]), numbers('one1', [1]), numbers('two1', [2]), numbers('order', [1, 0])],
        ...[numbers('pads', [1, 0], [1, 2]), numbers('places', [1, 1, 0], [3, 1])],
        ...[
          numbers('start', [0]),
          numbers('end', [0]),
          numbers('back', [-1]),
          numbers('sizes', [0, 2]),
          weight('dash', 'string', [], ['–']),
        ],
      ],
      signatures: {
        serving_default: {
          inputs: { x: 'string' },
          outputs: {
            ...Object.fromEntries(
              'concat pack transpose slice strided reverse tile pad gather rows select fill split:1 splitv:1 unpack:1'
                .split(' ')
                .map((name) => [name, 'string']),
            ),
            equal: 'bool',
            differ: 'bool',
          },
        },
      },
    });

    const { equal, differ, ...moved } = await run(source, { x: strings([first, second]) });

    const dash = new TextEncoder().encode('–');
    expect(Object.fromEntries(Object.entries(moved).map(([name, tensor]) => [name, tensor]))).toEqual({
      concat: strings([first, second, first, second]),
      pack: strings([first, first, second, second], [2, 2]),
      transpose: strings([first, second, first, second], [2, 2]),
      slice: strings([second]),
      strided: strings([second, first]),
      reverse: strings([second, first]),
      tile: strings([first, second, first, second]),
      pad: strings([dash, first, second]),
      gather: strings([second, second, first]),
      rows: strings([second, second, first], [3, 1]),
      select: strings([dash, second]),
      fill: strings([second, second]),
      'splitv:1': strings([first, second]),
      'split:1': strings([second]),
      'unpack:1': strings([second], []),
    });
    expect([equal!.data, differ!.data]).toEqual([Uint8Array.of(0, 1), Uint8Array.of(1, 0)]);
  });

  test('looks up whole numbers and gives strings, in the shape of the keys', async () => {
    const source = graphSource({
      nodes: [
        placeholder('x', 'int64'),
        node('table', 'HashTableV2', [], { key_dtype: type('int64'), value_dtype: type('string') }),
        node('y', 'LookupTableFindV2', ['table', 'x', 'unknown'], { Tin: type('int64'), Tout: type('string') }),
        node('n', 'LookupTableSizeV2', ['table']),
      ],
      weights: [
        weight('unknown', 'string', [], ['?']),
        weight('keys', 'int32', [2], [7, -3]),
        weight('values', 'string', [2], ['seven', 'ä']),
      ],
      initializer: [
        node('table', 'HashTableV2', [], { key_dtype: type('int64'), value_dtype: type('string') }),
        node('keys', 'Const', [], { dtype: type('int64') }),
        node('values', 'Const', [], { dtype: type('string') }),
        node('fill', 'LookupTableImportV2', ['table', 'keys', 'values'], { Tin: type('int64'), Tout: type('string') }),
      ],
      signatures: { serving_default: { inputs: { x: 'int64' }, outputs: { y: 'string', n: 'int64' } } },
    });

    const { y, n } = await run(source, { x: createTensor('int64', [2, 2], BigInt64Array.of(7n, 8n, -3n, 7n)) });

    expect(y!.shape).toEqual([2, 2]);
    expect(stringsOf(y!)).toEqual(['seven', '?', 'ä', 'seven']);
    expect(n!.data).toEqual(BigInt64Array.of(2n));
  });

  test('compares strings', async () => {
    const source = graphSource({
      nodes: [
        placeholder('x', 'string'),
        node('same', 'Equal', ['x', 'cat'], { T: type('string') }),
        node('other', 'NotEqual', ['x', 'cat'], { T: type('string') }),
        node('y', 'SelectV2', ['same', 'one', 'two'], { T: type('float32') }),
      ],
      weights: [weight('cat', 'string', [], ['cat']), weight('one', 'float32', [], [1]), weight('two', 'float32', [], [2])],
      signatures: { serving_default: { inputs: { x: 'string' }, outputs: { same: 'bool', other: 'bool', y: 'float32' } } },
    });

    const { same, other, y } = await run(source, { x: strings(['cat', 'dog', 'ca', '']) });

    expect([same!.data, other!.data, y!.data]).toEqual([Uint8Array.of(1, 0, 0, 0), Uint8Array.of(0, 1, 1, 1), Float32Array.of(1, 2, 2, 2)]);
  });

  test('keeps a loop over strings together on the host, and goes on with its result on the device', async () => {
    // while (i < 3) { s = s + s; i++ }, in the form of TensorFlow 1
    const frame = { frame_name: text('loop'), is_constant: bool(false), parallel_iterations: int(10) };
    const ofText = { T: type('string') };
    const ofInt = { T: type('int32') };
    const source = graphSource({
      nodes: [
        placeholder('s', 'string'),
        node('enter_s', 'Enter', ['s'], { ...ofText, ...frame }),
        node('enter_i', 'Enter', ['zero'], { ...ofInt, ...frame }),
        node('enter_three', 'Enter', ['three'], { ...ofInt, ...frame, is_constant: bool(true) }),
        node('enter_one', 'Enter', ['one'], { ...ofInt, ...frame, is_constant: bool(true) }),
        node('merge_s', 'Merge', ['enter_s', 'next_s'], { ...ofText, N: int(2) }),
        node('merge_i', 'Merge', ['enter_i', 'next_i'], { ...ofInt, N: int(2) }),
        node('less', 'Less', ['merge_i', 'enter_three'], ofInt),
        node('cond', 'LoopCond', ['less']),
        node('switch_s', 'Switch', ['merge_s', 'cond'], ofText),
        node('switch_i', 'Switch', ['merge_i', 'cond'], ofInt),
        node('double', 'StringJoin', ['switch_s:1', 'switch_s:1'], { N: int(2) }),
        node('add', 'AddV2', ['switch_i:1', 'enter_one'], ofInt),
        node('next_s', 'NextIteration', ['double'], ofText),
        node('next_i', 'NextIteration', ['add'], ofInt),
        node('exit_s', 'Exit', ['switch_s'], ofText),
        node('exit_i', 'Exit', ['switch_i'], ofInt),
        node('length', 'StringLength', ['exit_s']),
        node('as_float', 'Cast', ['length'], { SrcT: type('int32'), DstT: type('float32') }),
        node('y', 'Mul', ['as_float', 'half'], { T: type('float32') }),
        node('steps', 'AddV2', ['exit_i', 'one'], ofInt),
      ],
      weights: [
        weight('zero', 'int32', [], [0]),
        weight('one', 'int32', [], [1]),
        weight('three', 'int32', [], [3]),
        weight('half', 'float32', [], [0.5]),
      ],
      signatures: { serving_default: { inputs: { s: 'string' }, outputs: { y: 'float32', steps: 'int32' } } },
    });

    const { y, steps } = await run(source, { s: strings(['ab', 'c']) });

    expect(y!.data).toEqual(Float32Array.of(8, 4));
    expect(steps!.data).toEqual(Int32Array.of(4));
  });

  test('computes on the CPU between two kernels what the backend has no kernel for', async () => {
    const source = graphSource({
      nodes: [
        placeholder('x', 'int32'),
        node('plus', 'AddV2', ['x', 'one'], { T: type('int32') }),
        node('unique', 'Unique', ['plus'], { T: type('int32'), out_idx: type('int32') }),
        node('y', 'Mul', ['unique', 'unique'], { T: type('int32') }),
      ],
      weights: [weight('one', 'int32', [], [1])],
      signatures: { serving_default: { inputs: { x: 'int32' }, outputs: { y: 'int32', 'unique:1': 'int32' } } },
    });

    const outputs = await run(source, { x: createTensor('int32', [5], Int32Array.of(4, 2, 4, 4, 7)) });

    expect(outputs['y']!.data).toEqual(Int32Array.of(25, 9, 64));
    expect(outputs['unique:1']!.data).toEqual(Int32Array.of(0, 1, 0, 0, 2));
  });

  test('fills ragged rows up, as TextVectorization does', async () => {
    const source = graphSource({
      nodes: [
        placeholder('x', 'string'),
        node('split', 'StringSplitV2', ['x', 'none'], { maxsplit: int(-1) }),
        node('rows', 'StridedSlice', ['split', 'begin', 'end', 'ones'], {
          T: type('int64'),
          Index: type('int32'),
          begin_mask: int(1),
          end_mask: int(1),
          shrink_axis_mask: int(2),
          ellipsis_mask: int(0),
          new_axis_mask: int(0),
        }),
        node('count', 'Size', ['x'], { T: type('string'), out_type: type('int64') }),
        node('lengths', 'StringLength', ['split:1']),
        node('y', 'RaggedTensorToTensor', ['shape', 'lengths', 'default', 'count', 'rows'], {
          T: type('int32'),
          Tshape: type('int64'),
          Tindex: type('int64'),
          num_row_partition_tensors: int(2),
          row_partition_types: texts(['FIRST_DIM_SIZE', 'VALUE_ROWIDS']),
        }),
      ],
      weights: [
        weight('none', 'string', [], ['']),
        weight('begin', 'int32', [2], [0, 0]),
        weight('end', 'int32', [2], [0, 1]),
        weight('ones', 'int32', [2], [1, 1]),
        weight('shape', 'int32', [2], [-1, -1]),
        weight('default', 'int32', [], [0]),
      ],
      signatures: { serving_default: { inputs: { x: 'string' }, outputs: { y: 'int32' } } },
    });

    const { y } = await run(source, { x: strings(['a bcd', '', 'ef']) });

    expect(y).toEqual(createTensor('int32', [3, 2], Int32Array.of(1, 3, 0, 0, 2, 0)));
  });
});
