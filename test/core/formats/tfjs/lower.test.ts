import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attribute, type Edge, type GraphFunction, type ModelGraph, toConstant } from '../../../../src/core/formats/graph/index.ts';
import { createTensor, writeTfjsGraph } from '../../../../src/core/index.ts';
import { functionAttribute, GraphBuilder, modelGraph } from '../../../support/graph-builder.ts';
import { type Result, runEmitted } from '../../../support/tfjs-graph-run.ts';

const float32 = { precision: 'float32' } as const;
const output = ({ node }: Edge, index: number): Edge => ({ node, index });
const loop = (name: string) => ({ cond: functionAttribute(`${name}/cond`), body: functionAttribute(`${name}/body`) });

async function run(model: ModelGraph, inputs: Record<string, tf.Tensor>): Promise<Record<string, Result>> {
  return runEmitted(await writeTfjsGraph(model, float32), 'serving_default', inputs);
}

/** `while (i < limit)` with the counter as argument 0 and the limit as argument 1, of as many arguments. */
function countingCondition(count: number): GraphFunction {
  const cond = new GraphBuilder();
  const args = Array.from({ length: count }, (_, index) => cond.arg(index));
  return cond.function(count, [cond.op('less', 'Less', [args[0]!, args[1]!])]);
}

test('a loop counts, and reads from outside what it does not change', async () => {
  const graph = new GraphBuilder();
  const [limit, step] = [graph.input('limit', 'float32', []), graph.input('step', 'float32', [])];
  const body = new GraphBuilder();
  const [i, n, sum, by] = [0, 1, 2, 3].map((index) => body.arg(index));
  const next = body.op('next', 'AddV2', [i!, body.floats('one', [1])]);
  const added = body.op('added', 'AddV2', [sum!, by!]);
  const zeros = ['i', 'sum'].map((name) => graph.floats(name, [0]));
  const result = graph.op('while', 'StatelessWhile', [zeros[0]!, limit, zeros[1]!, step], loop('count'));
  const model = modelGraph(
    graph,
    {
      serving_default: {
        inputs: ['limit', 'step'],
        outputs: { i: [result, 'float32'], n: [output(result, 1), 'float32'], sum: [output(result, 2), 'float32'] },
      },
    },
    { 'count/cond': countingCondition(4), 'count/body': body.function(4, [next, n!, added, body.op('same', 'Identity', [by!])]) },
  );

  const five = await run(model, { limit: tf.scalar(5), step: tf.scalar(2) });
  const none = await run(model, { limit: tf.scalar(0), step: tf.scalar(2) });

  expect([five['i'], five['n'], five['sum']].map((result) => result?.values)).toEqual([[5], [5], [10]]);
  expect([none['i'], none['n'], none['sum']].map((result) => result?.values)).toEqual([[0], [0], [0]]);
  const emitted = await writeTfjsGraph(model, float32);
  expect(emitted.ops).not.toContain('StatelessWhile');
});

test('a list is filled in a loop, and a list made inside is a new one each time', async () => {
  const graph = new GraphBuilder();
  const x = graph.input('x', 'float32', [3]);
  const variant = attribute.type('variant');
  const element = { element_dtype: attribute.type('float32') };
  const list = graph.op('list', 'TensorListReserve', [graph.ints('shape', [], [0]), graph.ints('size', [3])], element);
  const body = new GraphBuilder();
  const [i, n, filled, source] = [body.arg(0), body.arg(1), body.arg(2, 'variant'), body.arg(3)];
  const index = body.op('index', 'Cast', [i], { SrcT: attribute.type('float32'), DstT: attribute.type('int32') });
  const item = body.op('item', 'GatherV2', [source, index, body.ints('axis', [0])]);
  // Everything this list is made of is constant: it must still be made anew, or the pushes of earlier turns stay in it.
  const fresh = body.op('fresh', 'EmptyTensorList', [body.ints('shape', [], [0]), body.ints('max', [-1])], element);
  const pushed = body.op('pushed', 'TensorListPushBack', [fresh, item], element);
  const length = body.op('length', 'TensorListLength', [pushed]);
  const value = body.op('value', 'Mul', [item, body.op('count', 'Cast', [length], { DstT: attribute.type('float32') })]);
  const set = body.op('set', 'TensorListSetItem', [filled, index, value], element);
  const next = body.op('next', 'AddV2', [i, body.floats('one', [1])]);
  const inputs = [graph.floats('zero', [0]), graph.floats('three', [3]), list, x];
  const types = attribute.types(['float32', 'float32', 'variant', 'float32']);
  const result = graph.op('while', 'While', inputs, { ...loop('fill'), T: types });
  const stacked = graph.op('stack', 'TensorListStack', [output(result, 2), graph.ints('each', [], [0])], { ...element, variant });
  const model = modelGraph(
    graph,
    { serving_default: { inputs: ['x'], outputs: { y: [stacked, 'float32'] } } },
    { 'fill/cond': countingCondition(4), 'fill/body': body.function(4, [next, n, set, source]) },
  );

  expect((await run(model, { x: tf.tensor1d([4, 5, 6]) }))['y']).toEqual({ shape: [3], values: [4, 5, 6] });
});

test('a table is looked up in a loop', async () => {
  const graph = new GraphBuilder();
  const body = new GraphBuilder();
  const table = body.op('table', 'HashTableV2', [], {
    key_dtype: attribute.type('int32'),
    value_dtype: attribute.type('int32'),
    keys: attribute.tensor(toConstant(createTensor('int32', [2], Int32Array.of(1, 2)))),
    values: attribute.tensor(toConstant(createTensor('int32', [2], Int32Array.of(2, 50)))),
  });
  const found = body.op('find', 'LookupTableFindV2', [table, body.arg(0, 'int32'), body.ints('unknown', [-1])]);
  const cond = new GraphBuilder();
  const goesOn = cond.op('less', 'Less', [cond.arg(0, 'int32'), cond.ints('limit', [10])]);
  const result = graph.op('while', 'StatelessWhile', [graph.input('x', 'int32', [])], loop('walk'));
  const model = modelGraph(
    graph,
    { serving_default: { inputs: ['x'], outputs: { y: [result, 'int32'] } } },
    { 'walk/cond': cond.function(1, [goesOn]), 'walk/body': body.function(1, [found]) },
  );

  expect((await run(model, { x: tf.scalar(1, 'int32') }))['y']).toEqual({ shape: [], values: [50] });
});

test('a constant that TensorFlow 1 holds back to one side of a switch stays there', async () => {
  const graph = new GraphBuilder();
  const x = graph.input('x', 'bool', []);
  const sides = graph.op('switch', 'Switch', [x, x]);
  const [no, yes] = [graph.op('no', 'Identity', [sides]), graph.op('yes', 'Identity', [output(sides, 1)])];
  const held = (
    [
      ['a', 1, no.node],
      ['b', 2, yes.node],
    ] as const
  ).map(([name, value, control]) => {
    const constant = toConstant(createTensor('float32', [1], Float32Array.of(value)));
    return graph.op(name, 'Const', [], { dtype: attribute.type('float32'), value: attribute.tensor(constant) }, [control]);
  });
  const joined = graph.op('joined', 'ConcatV2', [held[1]!, held[1]!, graph.ints('axis', [0])], {}, [yes.node]);
  const model = modelGraph(graph, {
    serving_default: { inputs: ['x'], outputs: { y: [graph.op('merge', 'Merge', [held[0]!, joined]), 'float32'] } },
  });

  expect((await run(model, { x: tf.scalar(true, 'bool') }))['y']?.values).toEqual([2, 2]);
  expect((await run(model, { x: tf.scalar(false, 'bool') }))['y']?.values).toEqual([1]);
});

describe('loops of TensorFlow 1', () => {
  const enter = (graph: GraphBuilder, name: string, source: Edge, frame: string, isConstant: boolean) =>
    graph.op(name, 'Enter', [source], { frame_name: attribute.string(frame), is_constant: attribute.bool(isConstant) });

  /** `for (i = 0; i < limit; i++) value = step(value)`; gives the value. */
  function forLoop(graph: GraphBuilder, frame: string, limit: Edge, start: Edge, step: (value: Edge) => Edge): Edge {
    const named = (name: string) => `${frame}/${name}`;
    const counter = enter(graph, named('i'), graph.floats(named('zero'), [0]), frame, false);
    const value = enter(graph, named('v'), start, frame, false);
    const merges = [counter, value].map((from, index) =>
      graph.op(named(`merge${index}`), 'Merge', [from, { node: named(`next${index}`), index: 0 }]),
    );
    const less = graph.op(named('less'), 'Less', [merges[0]!, enter(graph, named('limit'), limit, frame, true)]);
    const goesOn = graph.op(named('goes_on'), 'LoopCond', [less]);
    const switches = merges.map((merge, index) => graph.op(named(`switch${index}`), 'Switch', [merge, goesOn]));
    const [i, v] = switches.map((from, index) => graph.op(named(`body${index}`), 'Identity', [output(from, 1)]));
    graph.op(named('next0'), 'NextIteration', [graph.op(named('add'), 'AddV2', [i!, graph.floats(named('one'), [1])])]);
    graph.op(named('next1'), 'NextIteration', [step(v!)]);
    return graph.op(named('exit'), 'Exit', [switches[1]!]);
  }

  test('what does not change is there in every turn, even when it comes after the counter could run', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', 'float32', []);
    const limit = graph.floats('four', [4]);
    // The first loop takes turns to give what the second one only reads, whose own counter and limit are constants.
    const sum = forLoop(graph, 'first', limit, graph.floats('none', [0]), (value) =>
      graph.op('first/step', 'AddV2', [value, enter(graph, 'first/x', x, 'first', true)]),
    );
    const product = forLoop(graph, 'second', graph.floats('three', [3]), graph.floats('start', [1]), (value) => {
      const read = graph.op('second/read', 'Identity', [enter(graph, 'second/sum', sum, 'second', true)]);
      return graph.op('second/step', 'Mul', [value, graph.op('second/half', 'Mul', [read, graph.floats('half_of', [0.5])])]);
    });
    const model = modelGraph(graph, { serving_default: { inputs: ['x'], outputs: { y: [product, 'float32'], sum: [sum, 'float32'] } } });

    const { y, sum: total } = await run(model, { x: tf.scalar(3) });

    expect(total?.values).toEqual([12]);
    expect(y?.values).toEqual([6 ** 3]);
  });

  test('a loop inside another starts anew in every turn, from constants too', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', 'float32', []);
    const result = forLoop(graph, 'outer', graph.floats('three', [3]), graph.floats('start', [0]), (value) => {
      const held = enter(graph, 'outer/x', x, 'outer', true);
      const inner = forLoop(graph, 'inner', graph.floats('two', [2]), graph.floats('inner_start', [1]), (product) =>
        graph.op('inner/step', 'Mul', [product, enter(graph, 'inner/x', held, 'inner', true)]),
      );
      // The inner loop reads nothing of this turn but through here: its variables lie in this frame because of it.
      const other = forLoop(graph, 'other', graph.floats('one_turn', [1]), value, (kept) =>
        graph.op('other/step', 'AddV2', [kept, graph.floats('one_more', [1])]),
      );
      return graph.op('outer/step', 'AddV2', [other, inner]);
    });
    const model = modelGraph(graph, { serving_default: { inputs: ['x'], outputs: { y: [result, 'float32'] } } });

    expect((await run(model, { x: tf.scalar(5) }))['y']?.values).toEqual([3 * (25 + 1)]);
  });
});

describe('refused', () => {
  const calling = (functions: Record<string, GraphFunction>, op = 'StatelessIf') => {
    const graph = new GraphBuilder();
    const x = graph.input('x', 'float32', []);
    const branches = { then_branch: functionAttribute('f'), else_branch: functionAttribute('f') };
    return modelGraph(
      graph,
      { serving_default: { inputs: ['x'], outputs: { y: [graph.op('call', op, [x, x], { ...branches, ...loop('f') }), 'float32'] } } },
      functions,
    );
  };

  test('a function that calls itself', async () => {
    const self = new GraphBuilder();
    const again = self.op('again', 'StatelessWhile', [self.arg(0)], { cond: functionAttribute('f'), body: functionAttribute('f') });
    const model = calling({ f: self.function(1, [again]) });

    await expect(writeTfjsGraph(model, float32)).rejects.toMatchObject({ code: 'unsupported' });
  });

  test.each([
    ['a missing function', {}],
    ['an argument too many', { f: new GraphBuilder().function(1, [{ node: 'arg1', index: 0 }]) }],
  ])('%s', async (_, functions) => {
    await expect(writeTfjsGraph(calling(functions), float32)).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test('a body that gives another number of values', async () => {
    const body = new GraphBuilder();
    const negated = body.op('neg', 'Neg', [body.arg(0)]);
    const model = calling({ 'f/cond': body.function(2, [negated]), 'f/body': body.function(2, [negated]) }, 'StatelessWhile');

    await expect(writeTfjsGraph(model, float32)).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

// Programs of scalars: each line reads lines before it or arguments. What they compute is told by a plain interpreter.
type Line =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'argument'; readonly index: number }
  | { readonly kind: 'add' | 'subtract' | 'smaller'; readonly a: number; readonly b: number }
  | {
      readonly kind: 'if';
      readonly a: number;
      readonly b: number;
      readonly args: readonly number[];
      readonly whenTrue: Program;
      readonly whenFalse: Program;
    }
  | { readonly kind: 'case'; readonly index: number; readonly args: readonly number[]; readonly branches: readonly Program[] }
  | {
      readonly kind: 'while';
      readonly turns: number;
      readonly limit: number;
      readonly args: readonly number[];
      readonly body: Program;
      readonly kept: readonly boolean[];
    };

/** Lines, and which of them are the two results; positions are taken modulo the number of lines before. */
interface Program {
  readonly lines: readonly Line[];
  readonly results: readonly number[];
}

const WIDTH = 2; // arguments and results of every function
const position = fc.nat(30);
const pair = fc.array(position, { minLength: WIDTH, maxLength: WIDTH });

const { program } = fc.letrec<{ program: Program; line: Line }>((tie) => ({
  program: fc.record({ lines: fc.array(tie('line'), { minLength: 1, maxLength: 6, depthIdentifier: 'line' }), results: pair }),
  line: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'line' },
    fc.record({ kind: fc.constant('constant' as const), value: fc.integer({ min: -3, max: 3 }) }),
    fc.record({ kind: fc.constant('argument' as const), index: fc.nat(WIDTH - 1) }),
    fc.record({ kind: fc.constantFrom('add' as const, 'subtract' as const, 'smaller' as const), a: position, b: position }),
    fc.record({
      kind: fc.constant('if' as const),
      a: position,
      b: position,
      args: pair,
      whenTrue: tie('program'),
      whenFalse: tie('program'),
    }),
    fc.record({
      kind: fc.constant('case' as const),
      index: position,
      args: pair,
      branches: fc.array(tie('program'), { minLength: 1, maxLength: 3 }),
    }),
    fc.record({
      kind: fc.constant('while' as const),
      turns: fc.nat(3),
      limit: position,
      args: pair,
      body: tie('program'),
      kept: fc.array(fc.boolean(), { minLength: WIDTH, maxLength: WIDTH }),
    }),
  ),
}));

/** Small whole numbers, so that float32 is exact and no sum runs away. */
const wrap = (value: number) => Math.max(-1000, Math.min(1000, value));

function interpret({ lines, results }: Program, args: readonly number[]): number[] {
  const values: number[] = [...args];
  const at = (position: number) => values[position % values.length]!;
  for (const line of lines) values.push(evaluate(line, at, args));
  return results.map(at);
}

function evaluate(line: Line, at: (position: number) => number, args: readonly number[]): number {
  switch (line.kind) {
    case 'constant':
      return line.value;
    case 'argument':
      return args[line.index]!;
    case 'add':
      return wrap(at(line.a) + at(line.b));
    case 'subtract':
      return wrap(at(line.a) - at(line.b));
    case 'smaller':
      return Math.min(at(line.a), at(line.b));
    case 'if':
      return interpret(at(line.a) < at(line.b) ? line.whenTrue : line.whenFalse, line.args.map(at))[0]!;
    case 'case': {
      const chosen = at(line.index);
      const last = line.branches.length - 1;
      return interpret(line.branches[chosen >= 0 && chosen <= last ? chosen : last]!, line.args.map(at))[0]!;
    }
    case 'while': {
      let values = line.args.map(at);
      const limit = Math.min(line.turns, at(line.limit));
      for (let turn = 0; turn < limit; turn++) {
        const next = interpret(line.body, values);
        values = values.map((value, index) => (line.kept[index] ? value : next[index]!));
      }
      return values[1]!;
    }
  }
}

/** The same program as nodes; functions of its control flow are added to `functions`. */
function build({ lines, results }: Program, args: readonly Edge[], graph: GraphBuilder, functions: Record<string, GraphFunction>): Edge[] {
  const values: Edge[] = [...args];
  const at = (position: number) => values[position % values.length]!;
  const asFunction = (program: Program): string => {
    const name = `f${Object.keys(functions).length}`;
    functions[name] = { inputs: [], outputs: [], nodes: new Map() }; // holds the name while the functions inside get theirs
    const inner = new GraphBuilder();
    const inside = Array.from({ length: WIDTH }, (_, index) => inner.arg(index));
    functions[name] = inner.function(WIDTH, build(program, inside, inner, functions));
    return name;
  };
  const clip = (name: string, edge: Edge) =>
    graph.op(name, 'Maximum', [
      graph.op(`${name}/top`, 'Minimum', [edge, graph.floats(`${name}/max`, [1000])]),
      graph.floats(`${name}/min`, [-1000]),
    ]);
  for (const [number, line] of lines.entries()) {
    const name = `line${number}`;
    switch (line.kind) {
      case 'constant':
        values.push(graph.floats(name, [line.value]));
        break;
      case 'argument':
        values.push(args[line.index]!);
        break;
      case 'add':
      case 'subtract':
        values.push(clip(name, graph.op(`${name}/sum`, line.kind === 'add' ? 'AddV2' : 'Sub', [at(line.a), at(line.b)])));
        break;
      case 'smaller':
        values.push(graph.op(name, 'Minimum', [at(line.a), at(line.b)]));
        break;
      case 'if': {
        const less = graph.op(`${name}/less`, 'Less', [at(line.a), at(line.b)]);
        const branches = {
          then_branch: functionAttribute(asFunction(line.whenTrue)),
          else_branch: functionAttribute(asFunction(line.whenFalse)),
        };
        values.push(graph.op(name, 'StatelessIf', [less, ...line.args.map(at)], branches));
        break;
      }
      case 'case': {
        const index = graph.op(`${name}/index`, 'Cast', [at(line.index)], { DstT: attribute.type('int32') });
        const branches = { kind: 'list', value: line.branches.map((branch) => functionAttribute(asFunction(branch))) } as const;
        values.push(graph.op(name, 'Case', [index, ...line.args.map(at)], { branches }));
        break;
      }
      case 'while': {
        const limit = graph.op(`${name}/limit`, 'Minimum', [graph.floats(`${name}/turns`, [line.turns]), at(line.limit)]);
        const inner = new GraphBuilder();
        const inside = Array.from({ length: WIDTH + 2 }, (_, index) => inner.arg(index));
        const next = build(line.body, inside.slice(2), inner, functions);
        const outputs = [
          inner.op('next', 'AddV2', [inside[0]!, inner.floats('one', [1])]),
          inside[1]!,
          ...next.map((edge, index) => (line.kept[index] ? inside[index + 2]! : edge)),
        ];
        const prefix = `loop${Object.keys(functions).length}`;
        functions[`${prefix}/cond`] = countingCondition(WIDTH + 2);
        functions[`${prefix}/body`] = inner.function(WIDTH + 2, outputs);
        const result = graph.op(name, 'StatelessWhile', [graph.floats(`${name}/zero`, [0]), limit, ...line.args.map(at)], loop(prefix));
        values.push(output(result, 3));
        break;
      }
    }
  }
  return results.map(at);
}

test('programs of nested loops, branches and constants give what they say', { timeout: 300_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(program, fc.integer({ min: -3, max: 3 }), fc.integer({ min: -3, max: 3 }), async (program, a, b) => {
      const graph = new GraphBuilder();
      const functions: Record<string, GraphFunction> = {};
      const results = build(program, [graph.input('a', 'float32', []), graph.input('b', 'float32', [])], graph, functions);
      const outputs = Object.fromEntries(results.map((edge, index) => [`y${index}`, [edge, 'float32'] as const]));
      const model = modelGraph(graph, { serving_default: { inputs: ['a', 'b'], outputs } }, functions);
      const inputs = { a: tf.scalar(a), b: tf.scalar(b) };
      const alive = tf.memory().numTensors;

      const got = await run(model, inputs);

      expect(results.map((_, index) => got[`y${index}`]?.values[0])).toEqual(interpret(program, [a, b]));
      expect(tf.memory().numTensors).toBe(alive);
      tf.dispose(inputs);
    }),
    { numRuns: 500, seed: 20_260_727 },
  );
});

test('functions that call each other twice, and again, end in an error before they end in time', async () => {
  const functions: Record<string, GraphFunction> = {};
  for (let level = 0; level < 60; level++) {
    const body = new GraphBuilder();
    const next = functionAttribute(`f${level + 1}`);
    const given = body.arg(0, 'bool');
    for (const name of ['a', 'b']) body.op(name, 'StatelessIf', [given, given], { then_branch: next, else_branch: next });
    functions[`f${level}`] = body.function(1, []);
  }
  functions['f60'] = new GraphBuilder().function(0, []);
  const graph = new GraphBuilder();
  const x = graph.input('x', 'bool', []);
  const first = functionAttribute('f0');
  graph.op('call', 'StatelessIf', [x, x], { then_branch: first, else_branch: first });
  const y = graph.op('y', 'Identity', [x], {}, ['call']);
  const model = modelGraph(graph, { serving_default: { inputs: ['x'], outputs: { y: [y, 'bool'] } } }, functions);

  await expect(writeTfjsGraph(model, float32)).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('more than'),
  });
});
