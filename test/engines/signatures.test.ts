import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTensor, type Engine } from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { bool, graphSource, node, placeholder, type TestNode, type, weight } from '../support/graph-models.ts';

const platform = await openNodePlatform({ gpu: false });
const x = createTensor('float32', [2], Float32Array.of(1, -2));
const floats = { T: type('float32') };

describe.each(['tfjs-cpu', 'tfjs-wasm'] as const)('signatures on %s', (backend) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  const both = {
    good: { inputs: { x: 'float32' }, outputs: { y: 'float32' } },
    bad: { inputs: { x: 'float32' }, outputs: { z: 'float32' } },
  } as const;

  test('a signature that cannot run fails alone, with all its operators and nodes', async () => {
    const nodes = [
      placeholder('x', 'float32'),
      node('y', 'Relu', ['x'], floats),
      node('tower/a', 'NotAnOp', ['y']),
      node('tower/b', 'NotAnOp', ['tower/a']),
      node('assign', 'AssignVariableOp', ['x']),
      node('z', 'AddV2', ['tower/b', 'assign'], floats),
    ];
    await using loaded = await engine.load(graphSource({ nodes, signatures: both }));

    const { y } = await loaded.run({ signature: 'good', inputs: { x } });

    expect(y!.data).toEqual(Float32Array.of(1, 0));
    await expect(loaded.run({ signature: 'bad', inputs: { x } })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(/signature "bad" cannot run on tfjs-\w+ .*Signatures that run: good$/),
      details: {
        problems: [
          'operator AssignVariableOp (node "assign") is unknown to TensorFlow.js',
          expect.stringMatching(/operator NotAnOp \(2 nodes, first "tower\/[ab]"\) is unknown to TensorFlow.js/),
        ],
        running: ['good'],
      },
    });
  });

  test('a model without one signature that runs is refused at load, with the problems of all', async () => {
    const nodes = [placeholder('x', 'float32'), node('y', 'NotAnOp', ['x']), node('z', 'AlsoNone', ['x']), node('unused', 'Whatever')];

    await expect(engine.load(graphSource({ nodes, signatures: both }))).rejects.toMatchObject({
      code: 'unsupported',
      details: { problems: [expect.stringContaining('NotAnOp (node "y")'), expect.stringContaining('AlsoNone (node "z")')] },
    });
    expect(engine.memory()).toEqual({ tensors: 0, bytes: 0, variants: 0 });
  });

  test('operators in the functions of control flow are checked too', async () => {
    const nodes = [
      placeholder('x', 'float32'),
      node('c', 'Greater', ['s', 's'], floats),
      node('y', 'StatelessIf', ['c', 'x'], branches('then', 'else')),
    ];
    const functions = [oneNode('then', 'Relu'), oneNode('else', 'NotAnOp')];
    const weights = [weight('s', 'float32', [], [0])];
    const { good } = both;

    await expect(engine.load(graphSource({ nodes, weights, functions, signatures: { good } }))).rejects.toMatchObject({
      code: 'unsupported',
      details: { problems: ['operator NotAnOp (node "result") is unknown to TensorFlow.js'] },
    });
    await using loaded = await engine.load(
      graphSource({ nodes, weights, functions: [functions[0], oneNode('else', 'Neg')], signatures: { good } }),
    );
    const { y } = await loaded.run({ signature: 'good', inputs: { x } });
    expect(y!.data).toEqual(Float32Array.of(-1, 2));
  });

  test('an operator of ours works in a function, one with several outputs is refused there', async () => {
    const input = createTensor('float32', [2], Float32Array.of(3, 5));
    const nodes = [
      placeholder('x', 'float32'),
      node('c', 'Greater', ['s', 's'], floats),
      node('y', 'StatelessIf', ['c', 'x'], branches('then', 'else')),
    ];
    const model = (op: string) => {
      const weights = [weight('s', 'float32', [], [0])];
      return graphSource({
        nodes,
        weights,
        functions: [oneNode('then', 'Relu'), oneNode('else', op, ['arg', 'arg'])],
        signatures: { good: both.good },
      });
    };
    await using loaded = await engine.load(model('Mod'));

    expect((await loaded.run({ signature: 'good', inputs: { x: input } }))['y']!.data).toEqual(Float32Array.of(0, 0));
    await expect(engine.load(model('StringSplitV2'))).rejects.toMatchObject({
      code: 'unsupported',
      details: { problems: [expect.stringContaining('several outputs')] },
    });
  });

  test('a signature that leaves out an input its outputs need says so', async () => {
    const nodes = [
      placeholder('x', 'float32'),
      placeholder('w', 'float32'),
      node('y', 'AddV2', ['x', 'w'], floats),
      node('z', 'Neg', ['x'], floats),
    ];
    await using loaded = await engine.load(graphSource({ nodes, signatures: both }));

    expect((await loaded.run({ signature: 'bad', inputs: { x } }))['z']!.data).toEqual(Float32Array.of(-1, 2));
    await expect(loaded.run({ signature: 'good', inputs: { x } })).rejects.toMatchObject({
      code: 'unsupported',
      details: { problems: ['it needs the placeholder w, which is none of its inputs'] },
    });
  });

  test('outputs that are an input, a weight or one another can be read again and again', async () => {
    const nodes = [
      placeholder('x', 'float32'),
      node('same', 'Identity', ['w'], floats),
      node('y', 'AddV2', ['x', 'w'], floats),
      node('where', 'Where', ['b']),
    ];
    const weights = [weight('w', 'float32', [2], [10, 20]), weight('b', 'bool', [1], [1])];
    const outputs = { x: 'float32', w: 'float32', 'w:0': 'float32', same: 'float32', y: 'float32', 'y:0': 'float32' } as const;
    const signatures = {
      now: { inputs: { x: 'float32' }, outputs },
      later: { inputs: { x: 'float32' }, outputs: { ...outputs, where: 'int64' } },
    } as const;
    await using loaded = await engine.load(graphSource({ nodes, weights, signatures }));
    const alive = engine.memory().tensors;

    for (const signature of ['now', 'later', 'now', 'later']) {
      const got = await loaded.run({ signature, inputs: { x } });

      expect(Object.keys(outputs).map((name) => [...(got[name]!.data as Float32Array)])).toEqual([
        [1, -2],
        [10, 20],
        [10, 20],
        [10, 20],
        [11, 18],
        [11, 18],
      ]);
      expect(engine.memory().tensors).toBe(alive);
    }
  });

  test('a damaged graph is refused: a node that is not there', async () => {
    const nodes = [placeholder('x', 'float32'), node('y', 'Relu', ['gone'], floats)];

    await expect(engine.load(graphSource({ nodes, signatures: { good: both.good } }))).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining('node y reads gone'),
    });
  });
});

test('what TensorFlow.js must wait for slows only the signatures that need it', async () => {
  await using engine = await openEngine('tfjs-cpu', platform);
  const nodes = [placeholder('x', 'bool'), node('y', 'LogicalNot', ['x']), node('where', 'Where', ['x'], { T: type('bool') })];
  await using loaded = await engine.load(
    graphSource({
      nodes,
      signatures: { fast: { inputs: { x: 'bool' }, outputs: { y: 'bool' } }, slow: { inputs: { x: 'bool' }, outputs: { where: 'int64' } } },
    }),
  );
  const warnings: unknown[] = [];
  const { warn } = console;
  console.warn = (...args) => warnings.push(args);
  const input = createTensor('bool', [2], Uint8Array.of(0, 1));

  const { y } = await loaded.run({ signature: 'fast', inputs: { x: input } });
  const { where } = await loaded.run({ signature: 'slow', inputs: { x: input } });

  console.warn = warn;
  expect(y!.data).toEqual(Uint8Array.of(1, 0));
  expect(where).toEqual(createTensor('int64', [1, 1], BigInt64Array.of(1n)));
  expect(warnings).toEqual([]); // the executors complain when the other one would do
});

function branches(yes: string, no: string) {
  return { Tcond: type('bool'), then_branch: { func: { name: yes } }, else_branch: { func: { name: no } }, stateful: bool(false) };
}

function oneNode(name: string, op: string, inputs = ['arg']) {
  const nodeDef: TestNode[] = [node('result', op, inputs, floats)];
  return {
    signature: { name, inputArg: [{ name: 'arg', type: 'DT_FLOAT' }], outputArg: [{ name: 'out', type: 'DT_FLOAT' }] },
    nodeDef,
    ret: { out: 'result:y:0' },
  };
}
