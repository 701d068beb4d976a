import {
  attribute,
  type Constant,
  type Edge,
  edgeKey,
  type GraphFunction,
  type GraphNode,
  type ModelGraph,
  type Nodes,
  type PartialShape,
  sortNodes,
} from '../../graph/index.ts';
import { refineShape, widenShape } from '../dimensions/index.ts';
import { numbersOf } from '../evaluate/index.ts';
import { arrayRules } from './array-rules.ts';
import { type Known, RuleInputs, type Rules, unknown } from './known.ts';
import { mathRules } from './math-rules.ts';
import { fallback, otherRules } from './other-rules.ts';
import { isWhole, MAX_VALUES, withValues } from './values.ts';

/** What is known of each tensor of a model before it runs. */
export interface ShapeTable {
  /**
   * @param functionName The function the edge is in; none for the graph itself.
   * @returns dtype (`variant` also where it cannot be told), shape, and the elements of small tensors of whole numbers, as far as known.
   */
  of(edge: Edge, functionName?: string): Known;
}

const rules: Rules = { ...arrayRules, ...mathRules, ...otherRules };

/** Whether something is known of the operator. */
export function hasRule(op: string): boolean {
  return Object.hasOwn(rules, op);
}

/** Rounds after which a shape that still changes in a loop counts as unknown. */
const MAX_ROUNDS = 4;
/** Functions within functions; deeper ones are not looked into. */
const MAX_DEPTH = 16;
/** Nodes looked at in all, so that nested loops cannot multiply without end. */
const MAX_VISITS = 4_000_000;

/**
 * Infers dtype and shape of every edge, -1 where a size is not known, from the placeholders on; shape arithmetic is done on the way, so
 * that a `Reshape` to `[batch, 49]` is known to make `[-1, 49]`. Operators without a rule make unknown tensors.
 * @remarks Rules follow tensorflow/core/ops/*.cc. Bodies of functions are inferred from the arguments of all their callers; what changes
 * from one iteration of a loop to the next is unknown.
 * @throws {NearfarError} `invalid-argument` for a broken graph or an attribute of the wrong kind.
 */
export async function inferShapes(model: ModelGraph): Promise<ShapeTable> {
  const values = await readSmallConstants(model);
  const inference = new Inference(model, values);
  inference.run();
  return {
    of: (edge, functionName = '') => inference.tables.get(functionName)?.get(edgeKey(edge)) ?? unknown,
  };
}

async function readSmallConstants(model: ModelGraph): Promise<ReadonlyMap<Constant, readonly number[]>> {
  const values = new Map<Constant, readonly number[]>();
  for (const nodes of [model.nodes, ...[...model.functions.values()].map((body) => body.nodes)]) {
    for (const node of nodes.values()) {
      if (node.op !== 'Const') continue;
      const constant = attribute.constantOf(node);
      if (!isWhole(constant.dtype) || constant.byteLength > MAX_VALUES * 8 || values.has(constant)) continue;
      const numbers = numbersOf(await constant.load());
      if (numbers && numbers.length <= MAX_VALUES) values.set(constant, Array.from(numbers));
    }
  }
  return values;
}

class Inference {
  /** By the name of the function ('' for the graph), then by edge: what holds for all calls. */
  readonly tables: Map<string, Map<string, Known>> = new Map<string, Map<string, Known>>();
  readonly #model: ModelGraph;
  readonly #constants: ReadonlyMap<Constant, readonly number[]>;
  readonly #declared: ReadonlyMap<string, PartialShape>;
  readonly #orders: Map<Nodes, GraphNode[]> = new Map<Nodes, GraphNode[]>();
  #visits = 0;

  constructor(model: ModelGraph, constants: ReadonlyMap<Constant, readonly number[]>) {
    this.#model = model;
    this.#constants = constants;
    this.#declared = declaredShapes(model);
  }

  run(): void {
    this.#inferNodes('', this.#model.nodes, [], 0);
  }

  /** @returns The outputs of each node. */
  #inferNodes(scope: string, nodes: Nodes, args: readonly Known[], depth: number): ReadonlyMap<string, readonly Known[]> {
    const order = this.#orderOf(nodes);
    const loops = order.filter((node) => node.op === 'Merge' && node.inputs.some((input) => nodes.get(input.node)?.op === 'NextIteration'));
    const carried = new Map<string, Known>();
    let found = this.#pass(nodes, order, args, carried, depth);
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      const changed = loops.filter((node) => {
        const before = found.get(node.name)?.[0] ?? unknown;
        const after = inputsOf(node, found).reduce(widen);
        if (isSame(before, after)) return false;
        carried.set(node.name, round === MAX_ROUNDS ? { dtype: after.dtype, shape: undefined } : after);
        return true;
      });
      if (changed.length === 0) break;
      found = this.#pass(nodes, order, args, carried, depth);
    }
    this.#note(scope, found);
    return found;
  }

  #orderOf(nodes: Nodes): GraphNode[] {
    const order = this.#orders.get(nodes) ?? sortNodes(nodes);
    this.#orders.set(nodes, order);
    return order;
  }

  #pass(
    nodes: Nodes,
    order: readonly GraphNode[],
    args: readonly Known[],
    carried: ReadonlyMap<string, Known>,
    depth: number,
  ): Map<string, readonly Known[]> {
    const found = new Map<string, readonly Known[]>();
    for (const node of order) {
      if (++this.#visits > MAX_VISITS) break;
      if (node.op === 'Merge') found.set(node.name, merged(node, nodes, found, carried.get(node.name)));
      else found.set(node.name, this.#outputsOf(node, inputsOf(node, found), args, depth).map(plausible));
    }
    return found;
  }

  #outputsOf(node: GraphNode, inputs: readonly Known[], args: readonly Known[], depth: number): readonly Known[] {
    switch (node.op) {
      case 'Const':
        return [this.#constant(node)];
      case '_Arg':
        return [args[attribute.numberOf(node, 'index')] ?? { dtype: attribute.typeOf(node, 'T', 'variant'), shape: undefined }];
      case 'While':
      case 'StatelessWhile':
        return withDeclared(node, this.#loop(node, inputs, depth));
      case 'If':
      case 'StatelessIf':
        return withDeclared(
          node,
          this.#branches(
            ['then_branch', 'else_branch'].map((name) => attribute.functionOf(node, name)),
            inputs,
            depth,
          ),
        );
      case 'Case':
      case 'StatelessCase':
        return withDeclared(node, this.#branches(attribute.stringsOf(node, 'branches'), inputs, depth));
      default: {
        const rule = Object.hasOwn(rules, node.op) ? rules[node.op]! : fallback;
        const outputs = withValues(node, inputs, rule(node, new RuleInputs(inputs)));
        const declared = this.#declared.get(node.name);
        if (depth > 0 || !node.op.startsWith('Placeholder') || !declared) return outputs;
        return outputs.map((output) => ({ ...output, shape: refineShape(output.shape, declared) }));
      }
    }
  }

  #constant(node: GraphNode): Known {
    const constant = attribute.constantOf(node);
    const values = this.#constants.get(constant);
    return { dtype: constant.dtype, shape: constant.shape, ...(values && { values }) };
  }

  #loop(node: GraphNode, inputs: readonly Known[], depth: number): readonly Known[] {
    // Values differ from one iteration to the next; shapes mostly do not.
    let carried: readonly Known[] = inputs.map(({ dtype, shape }) => ({ dtype, shape }));
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      const outputs = this.#call(attribute.functionOf(node, 'body'), carried, depth);
      const next = carried.map((before, i) => widen(before, outputs[i] ?? unknown));
      const isStable = next.every((after, i) => isSame(after, carried[i]!));
      carried = next.map((after, i) =>
        round === MAX_ROUNDS && !isSame(after, carried[i]!)
          ? { dtype: after.dtype, shape: undefined }
          : { dtype: after.dtype, shape: after.shape },
      );
      if (isStable) break;
    }
    this.#call(attribute.functionOf(node, 'cond'), carried, depth);
    return carried;
  }

  #branches(names: readonly string[], inputs: readonly Known[], depth: number): readonly Known[] {
    const results = names.map((name) => this.#call(name, inputs.slice(1), depth));
    const [first = []] = results;
    return first.map((output, i) => results.slice(1).reduce((sum, result) => widen(sum, result[i] ?? unknown), output));
  }

  #call(name: string, args: readonly Known[], depth: number): readonly Known[] {
    const body: GraphFunction | undefined = this.#model.functions.get(name);
    if (!body || depth >= MAX_DEPTH) return [];
    const found = this.#inferNodes(name, body.nodes, args, depth + 1);
    return body.outputs.map((output) => found.get(output.node)?.[output.index] ?? unknown);
  }

  /** Keeps what holds for this call and for those before. */
  #note(scope: string, found: ReadonlyMap<string, readonly Known[]>): void {
    const table = this.tables.get(scope) ?? new Map<string, Known>();
    for (const [node, outputs] of found) {
      outputs.forEach((output, index) => {
        const key = edgeKey({ node, index });
        const before = table.get(key);
        table.set(key, before ? widen(before, output) : output);
      });
    }
    this.tables.set(scope, table);
  }
}

/** What all signatures that read a placeholder say of its shape. */
function declaredShapes(model: ModelGraph): ReadonlyMap<string, PartialShape> {
  const shapes = new Map<string, PartialShape>();
  for (const signature of Object.values(model.signatures)) {
    for (const { node, shape } of Object.values(signature.inputs)) {
      shapes.set(node, shapes.has(node) ? widenShape(shapes.get(node), shape) : shape);
    }
  }
  return shapes;
}

function inputsOf(node: GraphNode, found: ReadonlyMap<string, readonly Known[]>): readonly Known[] {
  return node.inputs.map((input) => found.get(input.node)?.[input.index] ?? unknown);
}

function merged(node: GraphNode, nodes: Nodes, found: ReadonlyMap<string, readonly Known[]>, carried: Known | undefined): readonly Known[] {
  const ready = node.inputs.filter((input) => nodes.get(input.node)?.op !== 'NextIteration');
  const output =
    carried ?? ready.map((input) => found.get(input.node)?.[input.index] ?? unknown).reduce(widen, undefined as Known | undefined);
  return [
    { dtype: output?.dtype ?? 'variant', shape: output?.shape },
    { dtype: 'int32', shape: [] },
  ];
}

function widen(a: Known | undefined, b: Known): Known {
  if (!a) return b;
  const shape = widenShape(a.shape, b.shape);
  const values =
    a.values?.length === b.values?.length ? a.values?.map((value, i) => (value === b.values?.[i] ? value : undefined)) : undefined;
  const isSameShape = shape?.every((size) => size >= 0);
  return { dtype: a.dtype === b.dtype ? a.dtype : 'variant', shape, ...(values && isSameShape && { values }) };
}

function isSame(a: Known, b: Known): boolean {
  return a.dtype === b.dtype && a.shape?.join() === b.shape?.join() && (a.shape === undefined) === (b.shape === undefined);
}

/** Sizes that make no sense come from broken attributes. */
function plausible(known: Known): Known {
  if (known.shape?.every((size) => Number.isSafeInteger(size) && size >= -1) ?? true) return known;
  return { dtype: known.dtype, shape: known.shape?.map((size) => (Number.isSafeInteger(size) && size >= 0 ? size : -1)) };
}

function withDeclared(node: GraphNode, outputs: readonly Known[]): readonly Known[] {
  const declared = Object.hasOwn(node.attributes, 'output_shapes') ? node.attributes['output_shapes'] : undefined;
  if (declared?.kind !== 'list') return outputs;
  return outputs.map((output, i) => {
    const item = declared.value[i];
    return item?.kind === 'shape' ? { ...output, shape: refineShape(output.shape, item.value) } : output;
  });
}
