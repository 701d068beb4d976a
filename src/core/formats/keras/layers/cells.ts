import type { Constant } from '../../graph/index.ts';
import type { GraphBuilder, Value } from '../builder.ts';
import { Config } from '../config.ts';
import type { KerasVersion } from '../model-config.ts';
import { damaged, unsupported } from '../problems.ts';
import { sliced, type Variables } from '../variables.ts';
import { activate } from './activations.ts';
import { inside, type Slot, under } from './layer-kind.ts';

/**
 * One step of a recurrent layer. The products with the input have no loop in them, so `project` makes them for all steps at once; the
 * rest is `step`, which may run in the body of a loop and so takes the builder of where it runs.
 */
export interface Cell {
  /** Sizes of the states; the first one is the output. */
  readonly states: readonly number[];
  readonly outputSize: number;
  project(b: GraphBuilder, x: Value): Value;
  step(b: GraphBuilder, projected: Value, states: readonly Value[]): { readonly output: Value; readonly states: readonly Value[] };
}

/** Weights of a cell of this class, under the child of the layer that it is. */
export function cellSlots(className: string, config: Config, path: string): Slot[] {
  if (className === 'StackedRNNCells') {
    const used = new Map<string, number>();
    return stackedCells(config).flatMap((cell) =>
      inside(path, cellSlots(cell.className, cell.config, `cells/${uniqueName(cell.className, used)}`)),
    );
  }
  return under(path, ['kernel', 'recurrent_kernel', config.bool('use_bias', true) && 'bias']);
}

/** @param variables Where the weights of the cell lie, without a prefix of its own. */
export function createCell(className: string, config: Config, variables: Variables, version: KerasVersion): Cell {
  const kind = Object.hasOwn(kinds, className) ? kinds[className] : undefined;
  if (className === 'StackedRNNCells') return stack(config, variables, version);
  if (kind) return kind(weightsOf(config, variables), config, version);
  throw unsupported(`${config.where} has a cell of the class ${className}, which is not supported`);
}

interface CellWeights {
  readonly kernel: Constant;
  readonly recurrent: Constant;
  readonly bias: Constant | undefined;
}

function weightsOf(config: Config, variables: Variables): CellWeights {
  const bias = variables.optional('bias');
  if (config.bool('use_bias', true) !== (bias !== undefined)) throw damaged(`${config.where} has no weight bias`);
  return { kernel: variables.get('kernel', 2), recurrent: variables.get('recurrent_kernel', 2), bias };
}

type CellMaker = (weights: CellWeights, config: Config, version: KerasVersion) => Cell;

const simple: CellMaker = ({ kernel, recurrent, bias }, config, version) => {
  const units = unitsOf(recurrent, 1, config);
  return {
    states: [units],
    outputSize: units,
    project: (b, x) => projectInput(b, x, kernel, bias),
    step: (b, projected, [h]) => {
      const sum = b.add(projected, b.matmul(h!, b.weight(recurrent, 'recurrent_kernel')));
      const output = activate(b, sum, config.get('activation') ?? 'tanh', version, config.where);
      return { output, states: [output] };
    },
  };
};

/** keras/src/layers/rnn/lstm.py: gates i, f, c, o. */
const lstm: CellMaker = ({ kernel, recurrent, bias }, config, version) => {
  const units = unitsOf(recurrent, 4, config);
  const act = (b: GraphBuilder, x: Value) => activate(b, x, config.get('activation') ?? 'tanh', version, config.where);
  const gate = (b: GraphBuilder, x: Value) =>
    activate(b, x, config.get('recurrent_activation') ?? gateDefault(version), version, config.where);
  return {
    states: [units, units],
    outputSize: units,
    project: (b, x) => projectInput(b, x, kernel, bias),
    step: (b, projected, [h, c]) => {
      const sum = b.add(projected, b.matmul(h!, b.weight(recurrent, 'recurrent_kernel')));
      const [i, f, candidate, o] = b.split(sum, 4, 1) as [Value, Value, Value, Value]; // split into four
      const carry = b.add(b.mul(gate(b, f), c!), b.mul(gate(b, i), act(b, candidate)));
      const output = b.mul(gate(b, o), act(b, carry));
      return { output, states: [output, carry] };
    },
  };
};

/** keras/src/layers/rnn/gru.py: gates z, r, h. */
const gru: CellMaker = ({ kernel, recurrent, bias }, config, version) => {
  const units = unitsOf(recurrent, 3, config);
  const act = (b: GraphBuilder, x: Value) => activate(b, x, config.get('activation') ?? 'tanh', version, config.where);
  const gate = (b: GraphBuilder, x: Value) =>
    activate(b, x, config.get('recurrent_activation') ?? gateDefault(version), version, config.where);
  const resetAfter = config.bool('reset_after', false) || (bias !== undefined && bias.shape.length === 2);
  const row = (index: number) => (bias && bias.shape.length === 2 ? sliced(bias, 0, index, index + 1) : bias);
  const finish = (b: GraphBuilder, z: Value, h: Value, candidate: Value) => {
    const output = b.add(b.mul(z, h), b.mul(b.sub(b.float(1), z), candidate));
    return { output, states: [output] };
  };
  return {
    states: [units],
    outputSize: units,
    project: (b, x) => projectInput(b, x, kernel, row(0)),
    step: (b, projected, [state]) => {
      const h = state!;
      const [xz, xr, xh] = b.split(projected, 3, 1) as [Value, Value, Value]; // split into three
      if (resetAfter) {
        const product = b.matmul(h, b.weight(recurrent, 'recurrent_kernel'));
        const second = row(1);
        const inner = second && bias?.shape.length === 2 ? b.add(product, b.weight(second, 'recurrent_bias')) : product;
        const [hz, hr, hh] = b.split(inner, 3, 1) as [Value, Value, Value]; // as above
        const z = gate(b, b.add(xz, hz));
        const r = gate(b, b.add(xr, hr));
        return finish(b, z, h, act(b, b.add(xh, b.mul(r, hh))));
      }
      const gates = b.matmul(h, b.weight(sliced(recurrent, 1, 0, 2 * units), 'recurrent_kernel_gates'));
      const [hz, hr] = b.split(gates, 2, 1) as [Value, Value]; // split into two
      const z = gate(b, b.add(xz, hz));
      const r = gate(b, b.add(xr, hr));
      const hh = b.matmul(b.mul(r, h), b.weight(sliced(recurrent, 1, 2 * units, 3 * units), 'recurrent_kernel_candidate'));
      return finish(b, z, h, act(b, b.add(xh, hh)));
    },
  };
};

const kinds: Readonly<Record<string, CellMaker>> = {
  SimpleRNN: simple,
  SimpleRNNCell: simple,
  LSTM: lstm,
  LSTMCell: lstm,
  GRU: gru,
  GRUCell: gru,
};

/** Keras 1 had hard_sigmoid; every later config says it. */
function gateDefault(version: KerasVersion): string {
  return version === 3 ? 'sigmoid' : 'hard_sigmoid';
}

function stack(config: Config, variables: Variables, version: KerasVersion): Cell {
  const used = new Map<string, number>();
  const cells = stackedCells(config).map(({ className, config: inner }) =>
    createCell(className, inner, variables.inside(`cells/${uniqueName(className, used)}`), version),
  );
  const [first] = cells;
  if (!first) throw damaged(`${config.where} has no cells`);
  return {
    states: cells.flatMap(({ states }) => states),
    outputSize: cells.at(-1)!.outputSize,
    project: (b, x) => first.project(b, x),
    step: (b, projected, states) => {
      let input = projected;
      let at = 0;
      const after: Value[] = [];
      for (const [index, cell] of cells.entries()) {
        const own = states.slice(at, at + cell.states.length);
        at += cell.states.length;
        const result = cell.step(b, index === 0 ? input : cell.project(b, input), own);
        input = result.output;
        after.push(...result.states);
      }
      return { output: input, states: after };
    },
  };
}

function stackedCells(config: Config): { className: string; config: Config }[] {
  const cells = config.get('cells');
  if (!Array.isArray(cells)) throw damaged(`${config.where} has no cells`);
  return cells.map((_, index) => {
    const cell = new Config({ cell: cells[index] }, config.where).object('cell');
    return { className: cell.className, config: new Config(cell.config, config.where) };
  });
}

function uniqueName(className: string, used: Map<string, number>): string {
  const name = snakeCase(className);
  const count = used.get(name) ?? 0;
  used.set(name, count + 1);
  return count === 0 ? name : `${name}_${count}`;
}

/** keras/src/utils/naming.py, to_snake_case. */
export function snakeCase(name: string): string {
  return name
    .replace(/\W+/g, '')
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

function unitsOf(recurrent: Constant, gates: number, config: Config): number {
  const [rows = 0, columns = 0] = recurrent.shape;
  if (rows * gates !== columns) throw damaged(`${config.where} has a recurrent kernel of [${recurrent.shape}], expected ${gates} gates`);
  return rows;
}

function projectInput(b: GraphBuilder, x: Value, kernel: Constant, bias: Constant | undefined): Value {
  const product = b.project(x, b.weight(kernel, 'kernel'));
  return bias ? b.add(product, b.weight(bias, 'bias')) : product;
}
