import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { constantOf, shapeOf } from '../../../../src/core/formats/graph/attributes.ts';
import { describeSavedModel, readSavedModel } from '../../../../src/core/index.ts';
import { sharedData } from '../../../support/shared-data.ts';
import { constantsOf, countOps, readFolder } from './folder.ts';

const model = (path: string) => sharedData(`savedmodel/${path}/1`);
const serving = (name: string, version = '00000123') => sharedData(`tfs-testdata/${name}/${version}`);

const mobilenet = model('mobilenetv2_dq');
const keywords = model('kws_ref_model');
const resnet = model('resnet8_cifar10');
const counter = serving('saved_model_counter');
const halfPlusTwo = serving('saved_model_half_plus_two_cpu');

describe('of TensorFlow 2', () => {
  test.skipIf(!mobilenet)('MobileNetV2 is one flat graph with all its weights as constants', async () => {
    const graph = await readSavedModel(readFolder(mobilenet!));

    expect(graph.unusable).toEqual({});
    expect(graph.signatures).toEqual({
      serving_default: {
        method: 'predict',
        inputs: { input: { node: 'serving_default_input', dtype: 'float32', shape: [-1, 224, 224, 3] } },
        outputs: {
          logits: { edge: { node: 'StatefulPartitionedCall/Identity', index: 0 }, dtype: 'float32', shape: [-1, 1000] },
          probabilities: { edge: { node: 'StatefulPartitionedCall/Identity_1', index: 0 }, dtype: 'float32', shape: [-1, 1000] },
        },
      },
    });
    const ops = countOps(graph.nodes.values());
    expect(ops).toMatchObject({
      Conv2D: 35,
      DepthwiseConv2dNative: 17,
      BiasAdd: 52,
      Relu6: 35,
      AddV2: 11,
      MatMul: 1,
      Softmax: 1,
      Placeholder: 1,
    });
    expect(Object.keys(ops).filter((op) => /Var|Partitioned|NoOp|Restore/.test(op))).toEqual([]);
    let bytes = 0;
    for (const constant of constantsOf(graph)) bytes += (await constant.load()).data.length * 4;
    expect(bytes).toBe(13_951_432);
  });

  test.skipIf(!mobilenet)('weights are read one by one, when they are loaded', async () => {
    const folder = readFolder(mobilenet!);
    const shard = folder.get('variables/variables.data-00000-of-00001')!;
    const reads: number[] = [];
    const counted = {
      byteLength: shard.byteLength,
      read: (start: number, end: number) => {
        reads.push(end - start);
        return shard.read(start, end);
      },
    };

    const graph = await readSavedModel(new Map([...folder, ['variables/variables.data-00000-of-00001', counted]]));

    const upfront = reads.reduce((sum, length) => sum + length, 0);
    expect(upfront).toBeLessThan(64 * 1024); // the object graph, a string among the variables
    const head = [...constantsOf(graph)].find(({ shape }) => shape.join() === '1280,1000');
    await head!.load();
    expect(reads.reduce((sum, length) => sum + length, 0) - upfront).toBe(1280 * 1000 * 4);
  });

  test.skipIf(!resnet)('two signatures of one function share their weights', async () => {
    const graph = await readSavedModel(readFolder(resnet!));

    expect(Object.keys(graph.signatures)).toEqual(['serve', 'serving_default']);
    const kernels = [...graph.nodes.values()].filter((node) => node.op === 'Const' && constantOf(node).shape.length === 4);
    expect(new Set(kernels.map((node) => constantOf(node))).size).toBe(9);
  });

  test.skipIf(!keywords)('attributes that saving removed have their default values again', async () => {
    const graph = await readSavedModel(readFolder(keywords!));

    const convolution = [...graph.nodes.values()].find(({ op }) => op === 'Conv2D');
    expect(convolution?.attributes).toMatchObject({
      data_format: { kind: 'string', value: 'NHWC' },
      dilations: { kind: 'list', value: [1, 1, 1, 1].map((value) => ({ kind: 'int', value })) },
      explicit_paddings: { kind: 'list', value: [] },
    });
  });
});

describe('of TensorFlow 1', () => {
  test.skipIf(!counter)('what changes a variable cannot be run, what reads it can', async () => {
    const graph = await readSavedModel(readFolder(counter!));

    expect(Object.keys(graph.signatures)).toEqual(['get_counter']);
    expect(graph.unusable).toEqual({
      incr_counter: [expect.stringContaining('op AssignAdd ("incr_counter_op/AssignAdd")')],
      incr_counter_by: [expect.stringContaining('op AssignAdd ("incr_counter_by_op/AssignAdd")')],
      reset_counter: [expect.stringContaining('op Assign ("reset_counter_op/Assign")')],
    });
    const { edge } = graph.signatures['get_counter']!.outputs['output']!;
    expect((await constantOf(graph.nodes.get(edge.node)!).load()).data).toEqual(Float32Array.of(0));
  });

  test.skipIf(!halfPlusTwo)('a signature feeds in the middle of what others compute', async () => {
    const graph = await readSavedModel(readFolder(halfPlusTwo!));

    const { signatures, nodes } = graph;
    expect(nodes.get(signatures['serving_default']!.inputs['x']!.node)).toMatchObject({ op: 'Placeholder', inputs: [] });
    expect(signatures['regress_x_to_y']).toMatchObject({ method: 'regress', inputs: { inputs: { node: 'tf_example', dtype: 'string' } } });
    expect(nodes.get('x')?.op).toBe('Identity');
    expect(countOps(nodes.values())).toMatchObject({ ParseExample: 1, Placeholder: 3, Mul: 4, Add: 4 });
    expect(shapeOf(nodes.get('tf_example')!, 'shape')).toBeUndefined();
  });
});

describe('the signatures TensorFlow itself reports', () => {
  const folders: [string, string | undefined, string][] = [
    ['saved_model_counter', counter, '123'],
    ['saved_model_half_plus_two_2_versions', serving('saved_model_half_plus_two_2_versions'), '123'],
    ['saved_model_half_plus_two_2_versions', serving('saved_model_half_plus_two_2_versions', '00000124'), '124'],
    ['saved_model_half_plus_two_cpu', halfPlusTwo, '123'],
    ['saved_model_half_plus_two_cpu_with_saved_model_config', serving('saved_model_half_plus_two_cpu_with_saved_model_config'), '123'],
    ['saved_model_half_plus_two_tf2_cpu', serving('saved_model_half_plus_two_tf2_cpu'), '123'],
  ];

  for (const [name, folder, version] of folders) {
    const recorded = sharedData(`expected/tfs/${name}-00000${version}.json`);
    test.skipIf(!folder || !recorded)(`of ${name} ${version}`, async () => {
      interface Info {
        readonly dtype: string;
        readonly shape: readonly number[] | null;
      }
      type Recorded = Record<string, { method_name: string; inputs: Record<string, Info>; outputs: Record<string, Info> }>;
      const expected = (JSON.parse(readFileSync(recorded!, 'utf8')) as { signatures: Recorded }).signatures;

      const { signatures, unusable } = await readSavedModel(readFolder(folder!));

      expect(Object.keys({ ...signatures, ...unusable }).sort()).toEqual(Object.keys(expected).sort());
      for (const [key, signature] of Object.entries(signatures)) {
        const want = expected[key]!;
        expect(`tensorflow/serving/${signature.method}`).toBe(want.method_name);
        expect(Object.keys(signature.inputs)).toEqual(Object.keys(want.inputs));
        for (const [input, { dtype, shape }] of Object.entries(signature.inputs)) {
          expect({ dtype, shape: shape ?? null }, `${key}.${input}`).toEqual({
            dtype: want.inputs[input]!.dtype,
            shape: want.inputs[input]!.shape,
          });
        }
        for (const [output, { dtype, shape }] of Object.entries(signature.outputs)) {
          const { dtype: wanted, shape: wantedShape } = want.outputs[output]!;
          expect({ dtype, shape: shape ?? null }, `${key}.${output}`).toEqual({ dtype: wanted.replace('_ref', ''), shape: wantedShape });
        }
      }
    });
  }
});

test.skipIf(!halfPlusTwo)('a description has what the file says, tensor names and assets too', async () => {
  const { graphs, warmup } = await describeSavedModel(readFolder(halfPlusTwo!));

  expect(graphs).toHaveLength(1);
  expect(graphs[0]).toMatchObject({
    tags: ['serve'],
    assets: ['assets/foo.txt'],
    signatures: {
      regress_x_to_y: {
        methodName: 'tensorflow/serving/regress',
        inputs: { inputs: { name: 'tf_example:0', dtype: 'string', shape: undefined } },
        outputs: { outputs: { name: 'y:0', dtype: 'float32', shape: [-1, 1] } },
      },
    },
  });
  expect(warmup).toBeUndefined();
});

describe('refuses', () => {
  test.skipIf(!counter)('a folder without a model', async () => {
    await expect(readSavedModel(readFolder(counter!, { 'saved_model.pb': undefined }))).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test.skipIf(!counter)('tags that no graph has, and says which there are', async () => {
    const reading = readSavedModel(readFolder(counter!), { tags: ['serve', 'gpu'] });

    await expect(reading).rejects.toMatchObject({ code: 'not-found', message: expect.stringContaining('[serve]') });
  });

  test.skipIf(!halfPlusTwo)('a variable whose bytes were changed, when it is loaded', async () => {
    const path = 'variables/variables.data-00000-of-00001';
    const bytes = new Uint8Array(readFileSync(join(halfPlusTwo!, path)));
    bytes[5]! ^= 1;

    const graph = await readSavedModel(readFolder(halfPlusTwo!, { [path]: bytes }));

    const loads = await Promise.allSettled([...constantsOf(graph)].map((constant) => constant.load()));
    const failed = loads.flatMap((load) => (load.status === 'rejected' ? [load.reason] : []));
    expect(failed).toEqual([expect.objectContaining({ code: 'integrity-mismatch' })]);
  });

  test.skipIf(!halfPlusTwo)('an index whose bytes were changed', async () => {
    const path = 'variables/variables.index';
    const bytes = new Uint8Array(readFileSync(join(halfPlusTwo!, path)));
    bytes[10]! ^= 1;

    await expect(readSavedModel(readFolder(halfPlusTwo!, { [path]: bytes }))).rejects.toMatchObject({ code: 'integrity-mismatch' });
  });

  test.skipIf(!halfPlusTwo)('signatures without their variables, each with its reason', async () => {
    const reading = readSavedModel(readFolder(halfPlusTwo!, { 'variables/variables.index': undefined }));

    await expect(reading).rejects.toMatchObject({
      code: 'unsupported',
      details: {
        unusable: { serving_default: expect.arrayContaining([expect.stringMatching(/op \w*Variable\w* \("a"\)|op VarHandleOp \("a"\)/)]) },
      },
    });
  });
});
