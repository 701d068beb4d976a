import { attribute, type Edge, type GraphDType } from '../../graph/index.ts';
import { GraphBuilder, type Value } from '../builder.ts';
import { Config } from '../config.ts';
import { type KerasLayer, parseInnerLayer } from '../model-config.ts';
import { damaged, unsupported } from '../problems.ts';
import { type Cell, cellSlots, createCell } from './cells.ts';
import { inside, type LayerKind, type Lowering, one } from './layer-kind.ts';

/** Longer sequences, and those of unknown length, become a loop. */
const MAX_UNROLLED_STEPS = 128;

const recurrent: LayerKind = {
  slots: ({ className, config }) => {
    const cell = cellOf(className, config);
    return cellSlots(cell.className, cell.config, 'cell');
  },
  lower: (call) => {
    const { config, keywords } = call;
    const [x, ...given] = call.inputs;
    if (!x) throw damaged(`${config.where} is called without an input`);
    const states = [...given, ...keywords.tensors('initial_state')];
    const { outputs, mask } = lowerRecurrent(call, { ...one(call), mask: keywords.tensors('mask')[0] ?? x.mask }, states);
    const [sequence, ...rest] = outputs;
    return [{ ...sequence!, mask: config.bool('return_sequences', false) ? mask : undefined }, ...rest];
  },
};

export const recurrentLayers: Readonly<Record<string, LayerKind>> = {
  SimpleRNN: recurrent,
  LSTM: recurrent,
  GRU: recurrent,
  RNN: recurrent,
  Bidirectional: {
    slots: (layer, slotsOf) => {
      const { forward, backward } = directions(layer);
      return [...inside('forward_layer', slotsOf(forward)), ...inside('backward_layer', slotsOf(backward))];
    },
    lower: (call) => bidirectional(call),
  },
  TimeDistributed: {
    keepsMask: true,
    slots: (layer, slotsOf) => inside('layer', slotsOf(wrapped(layer))),
    lower: (call) => {
      const { builder: b, config } = call;
      const [x] = call.inputs;
      if (!x || x.shape.length < 3) throw damaged(`${config.where} needs an input with steps`);
      const dims = b.dims(x);
      // Steps become batches; one unknown size is enough, so that the other needs no tensor.
      const flat = b.reshape(x, [-1, ...dims.slice(2)]);
      const [y, ...more] = call.call(wrapped(call.layer), [flat], call.variables.inside('layer'));
      if (!y || more.length > 0) throw unsupported(`${config.where} has several outputs`);
      return b.reshape(y, [...dims.slice(0, 2), ...b.dims(y).slice(1)]);
    },
  },
};

function wrapped({ config, name }: KerasLayer): KerasLayer {
  return parseInnerLayer(config.object('layer').json, `${name}_layer`);
}

function cellOf(className: string, config: Config): { className: string; config: Config } {
  if (className !== 'RNN') return { className, config };
  const cell = config.object('cell');
  return { className: cell.className, config: new Config(cell.config, config.where) };
}

interface Recurrence {
  /** The sequence or the last output, then the states when they are asked for. */
  readonly outputs: readonly Value[];
  readonly mask: Value | undefined;
}

/** keras/src/layers/rnn/rnn.py and `rnn` of the TensorFlow backend. */
function lowerRecurrent(call: Lowering, x: Value, given: readonly Value[]): Recurrence {
  const { builder: b, config, layer, variables, version } = call;
  config.refuse('stateful', [false]);
  config.refuse('time_major', [false]);
  if (x.shape.length !== 3) throw damaged(`${config.where} gets a tensor of shape [${x.shape}], expected [batch, steps, features]`);
  const inner = cellOf(layer.className, config);
  const cell = createCell(inner.className, inner.config, variables.inside('cell'), version);
  const batch = b.dims(x)[0]!;
  if (given.length > 0 && given.length !== cell.states.length) {
    throw damaged(`${config.where} is given ${given.length} states, expected ${cell.states.length}`);
  }
  const initial = cell.states.map((size, index) => given[index] ?? b.zeros([batch, size]));
  const run: Run = {
    cell,
    projected: cell.project(b, { ...x, mask: undefined }),
    mask: x.mask,
    initial,
    isBackwards: config.bool('go_backwards', false),
    isSequence: config.bool('return_sequences', false),
    isZeroedByMask: config.bool('zero_output_for_mask', false),
    start: b.zeros([batch, cell.outputSize]),
  };
  const steps = x.shape[1]!;
  const { output, states } = steps !== -1 && steps <= MAX_UNROLLED_STEPS ? unroll(b, run, steps) : loop(b, run);
  return { outputs: config.bool('return_state', false) ? [output, ...states] : [output], mask: x.mask };
}

interface Run {
  readonly cell: Cell;
  /** [batch, steps, n] */
  readonly projected: Value;
  readonly mask: Value | undefined;
  readonly initial: readonly Value[];
  readonly isBackwards: boolean;
  readonly isSequence: boolean;
  readonly isZeroedByMask: boolean;
  /** What a masked first step gives: zeros. */
  readonly start: Value;
}

interface RunResult {
  readonly output: Value;
  readonly states: readonly Value[];
}

/** One step with its mask: where it is false, output and states stay as they were. */
function maskedStep(
  b: GraphBuilder,
  { cell, isZeroedByMask }: Run,
  projected: Value,
  mask: Value | undefined,
  states: readonly Value[],
  before: Value,
  zeros: Value,
): RunResult {
  const next = cell.step(b, projected, states);
  if (!mask) return next;
  const keep = b.expandDims(mask, 1);
  return {
    output: b.select(keep, next.output, isZeroedByMask ? zeros : before),
    states: next.states.map((state, index) => b.select(keep, state, states[index]!)),
  };
}

function unroll(b: GraphBuilder, run: Run, steps: number): RunResult {
  if (steps === 0) throw damaged('a sequence of no steps');
  const inOrder = <T>(list: T[]) => (run.isBackwards ? list.toReversed() : list);
  const inputs = inOrder(b.unpack(run.projected, 1));
  const masks = run.mask ? inOrder(b.unpack(run.mask, 1)) : [];
  let states = run.initial;
  let output = run.start;
  const outputs: Value[] = [];
  for (const [index, input] of inputs.entries()) {
    ({ output, states } = maskedStep(b, run, input, masks[index], states, output, run.start));
    outputs.push(output);
  }
  return { output: run.isSequence ? b.pack(outputs, 1) : output, states };
}

/**
 * A `StatelessWhile` over the steps. Its variables: the step, the count of steps, the inputs and masks with the steps first, the last
 * output, zeros, the states, and the list of outputs where they are all wanted.
 */
function loop(b: GraphBuilder, run: Run): RunResult {
  const { projected, mask, initial, start, isSequence } = run;
  const timeMajor = (x: Value, order: readonly number[]) => {
    const turned = b.transpose(x, order);
    return run.isBackwards ? b.reverse(turned, 0) : turned;
  };
  const inputs = timeMajor(projected, [1, 0, 2]);
  const steps = b.dims(inputs)[0]!;
  const count = typeof steps === 'number' ? b.int(steps) : steps;
  const masks = mask ? [timeMajor(mask, [1, 0])] : [];
  const variables: Value[] = [b.int(0), count, inputs, ...masks, start, start, ...initial];
  const types: GraphDType[] = variables.map(({ dtype }) => dtype);
  if (isSequence) {
    const attributes = { element_dtype: attribute.type('float32'), shape_type: attribute.type('int32') };
    variables.push(b.handle('TensorListReserve', [b.ints([-1, run.cell.outputSize]), count], attributes));
    types.push('variant');
  }
  const name = b.scope.replaceAll('/', '_');
  const condition = functionOf(b, `${name}cond`, variables, types, (inner, [step, total]) => [
    inner.op('Less', [step!, total!], { T: attribute.type('int32') }, 'bool', []),
  ]);
  const body = functionOf(b, `${name}body`, variables, types, (inner, args) => {
    const [step, total, all, ...rest] = args as [Value, Value, Value, ...Value[]]; // as put together above
    const maskArgument = mask ? rest.shift() : undefined;
    const [before, zeros, ...others] = rest as [Value, Value, ...Value[]]; // as above
    const states = others.slice(0, initial.length);
    const stepMask = maskArgument && inner.gather(maskArgument, step);
    const next = maskedStep(inner, run, inner.gather(all, step), stepMask, states, before, zeros);
    const after = [inner.add(step, inner.int(1)), total, all, ...(maskArgument ? [maskArgument] : []), next.output, zeros, ...next.states];
    if (isSequence) {
      const list = others[initial.length]!;
      after.push(inner.handle('TensorListSetItem', [list, step, next.output], { element_dtype: attribute.type('float32') }));
    }
    return after;
  });
  const node = b.node('StatelessWhile', variables, {
    T: attribute.types(types),
    cond: { kind: 'function', value: condition },
    body: { kind: 'function', value: body },
  });
  const result = (index: number, like: Value): Value => ({ edge: { node, index }, dtype: like.dtype, shape: like.shape });
  const outputAt = 3 + masks.length;
  const states = initial.map((state, index) =>
    result(outputAt + 2 + index, { ...state, shape: [state.shape[0]!, run.cell.states[index]!] }),
  );
  if (!isSequence) return { output: result(outputAt, start), states };
  const list = result(variables.length - 1, variables.at(-1)!);
  const attributes = { element_dtype: attribute.type('float32'), num_elements: attribute.int(inputs.shape[0]!) };
  const shape = [inputs.shape[0]!, start.shape[0]!, run.cell.outputSize];
  const stacked = b.op('TensorListStack', [list, b.ints([-1, run.cell.outputSize])], attributes, 'float32', shape);
  return { output: b.transpose(stacked, [1, 0, 2]), states };
}

function functionOf(
  b: GraphBuilder,
  wanted: string,
  variables: readonly Value[],
  types: readonly GraphDType[],
  build: (inner: GraphBuilder, args: readonly Value[]) => readonly Value[],
): string {
  const inner = new GraphBuilder(b.functions);
  const args = variables.map(({ shape }, index) => inner.argument(`arg${index}`, index, types[index]!, shape));
  const outputs: Edge[] = build(inner, args).map(({ edge }) => edge);
  let name = wanted;
  for (let count = 1; b.functions.has(name); count++) name = `${wanted}_${count}`;
  b.functions.set(name, { inputs: args.map(({ edge }) => edge.node), outputs, nodes: inner.nodes });
  return name;
}

/** keras/src/layers/rnn/bidirectional.py: without a layer of its own, backward is forward's config turned round. */
function directions(layer: KerasLayer): { forward: KerasLayer; backward: KerasLayer } {
  const forward = recurrentLayer(layer, 'layer');
  if (layer.config.get('backward_layer') !== undefined) {
    return { forward, backward: recurrentLayer(layer, 'backward_layer') };
  }
  const values = { ...forward.config.values, go_backwards: !forward.config.bool('go_backwards', false) };
  return { forward, backward: { ...forward, config: new Config(values, `backward ${forward.config.where}`) } };
}

function recurrentLayer({ config }: KerasLayer, name: string): KerasLayer {
  const inner = parseInnerLayer(config.object(name).json, name);
  if (Object.hasOwn(recurrentLayers, inner.className) && recurrentLayers[inner.className] === recurrent) return inner;
  throw unsupported(`${config.where} wraps a layer of the class ${inner.className}`);
}

function bidirectional(call: Lowering): readonly Value[] {
  const { builder: b, config, variables, keywords } = call;
  const { forward, backward } = directions(call.layer);
  const [x, ...given] = call.inputs;
  if (!x) throw damaged(`${config.where} is called without an input`);
  const states = [...given, ...keywords.tensors('initial_state')];
  const half = states.length / 2;
  const ahead = b.scoped('forward', () => call.call(forward, [x, ...states.slice(0, half)], variables.inside('forward_layer')));
  const back = b.scoped('backward', () => call.call(backward, [x, ...states.slice(half)], variables.inside('backward_layer')));
  const [first] = ahead;
  const [second] = back;
  if (!first || !second) throw damaged(`${config.where} has no outputs`);
  const isSequence = forward.config.bool('return_sequences', false);
  // The backward layer gives its outputs in the order it made them.
  const turned = isSequence ? b.reverse(second, 1) : second;
  const mask = isSequence ? x.mask : undefined;
  const after = [...ahead.slice(1), ...back.slice(1)];
  const mode = config.get('merge_mode');
  if (mode === undefined)
    return 'merge_mode' in config.values
      ? [{ ...first, mask }, { ...turned, mask }, ...after]
      : [{ ...b.concat([first, turned], -1), mask }, ...after];
  const merge: Record<string, () => Value> = {
    concat: () => b.concat([first, turned], -1),
    sum: () => b.add(first, turned),
    mul: () => b.mul(first, turned),
    ave: () => b.mul(b.add(first, turned), b.float(0.5)),
  };
  const chosen = typeof mode === 'string' && Object.hasOwn(merge, mode) ? merge[mode] : undefined;
  if (!chosen) throw damaged(`${config.where} has the merge mode ${String(mode)}`);
  return [{ ...chosen(), mask }, ...after];
}
