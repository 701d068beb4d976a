import { NearfarError } from '../../errors.ts';
import { type AnyTensor, bytesPerElement, createData, elementCount } from '../../tensor/index.ts';
import {
  attribute,
  byteLengthOf,
  type Constant,
  constNode,
  type Edge,
  edgeKey,
  type GraphNode,
  SMALL_CONSTANT_BYTES,
  sortNodes,
  toConstant,
} from '../graph/index.ts';
import type { DerivedConstants } from './derived-constants.ts';
import { isStatic } from './dimensions/index.ts';
import { engineDependentOps, evaluateNode, fromBigints, isEvaluable, isLayer, tensorOf } from './evaluate/index.ts';
import { isPure } from './purity.ts';
import { Readers, type Scope, ScopeEdit } from './scope.ts';
import type { Known } from './shapes/index.ts';
import { attributesKey } from './share-subexpressions.ts';

/** A folded node may make the model this much larger: about what the node itself takes in a model file, and the cost of running it. */
const GROWTH_BYTES = 16 * 2 ** 10;

/**
 * Computes nodes whose inputs are constants, and shapes that are known; a `Reshape` to a computed shape with one size open becomes one
 * to a constant shape. Small results are computed at once, those of large weights when they are read.
 * @remarks Left alone: what would make the model larger (a `Fill` or `Tile` of large shape), is random or has state, and
 * `engineDependentOps`, whose results would make the converted bytes depend on the machine.
 */
export function foldConstants(derived: DerivedConstants): (scope: Scope, known: (edge: Edge) => Known) => Promise<Scope> {
  return async (scope, known) => foldIn(scope, known, derived);
}

async function foldIn(scope: Scope, known: (edge: Edge) => Known, derived: DerivedConstants): Promise<Scope> {
  const edit = new ScopeEdit(scope);
  const readers = new Readers(scope);
  const constants = new Map<string, Constant>();
  for (const node of sortNodes(scope.nodes)) {
    const edge = { node: node.name, index: 0 };
    if (node.op === 'Const') {
      if (node.controls.length === 0) constants.set(edgeKey(edge), attribute.constantOf(node));
      continue;
    }
    if (!isPure(node) || readers.isWaitedFor(node.name)) continue;
    const put = (folded: readonly Constant[]) => {
      folded.forEach((constant, index) => {
        const from = { node: node.name, index };
        if (readers.count(from) === 0) return;
        const name = edit.nameFor(index === 0 ? `${node.name}/folded` : `${node.name}/folded:${index}`);
        edit.replace(from, edit.set(constNode(name, constant)));
        constants.set(edgeKey({ node: node.name, index }), constant);
      });
    };
    const shapeValue = knownValue(known(edge));
    const inputs = node.inputs.map((input) => constants.get(edgeKey(input)));
    if (shapeValue && readers.count(edge) > 0) put([toConstant(shapeValue)]);
    else if (node.inputs.length > 0 && inputs.every((input) => input !== undefined)) {
      const folded = await fold(node, inputs as readonly Constant[], known, readers, derived);
      if (folded) put(folded);
    } else if (node.op === 'Reshape') simplifyReshape(node, known, edit, constants);
  }
  return edit.finish();
}

async function fold(
  node: GraphNode,
  inputs: readonly Constant[],
  known: (edge: Edge) => Known,
  readers: Readers,
  derived: DerivedConstants,
): Promise<readonly Constant[] | undefined> {
  if (!isEvaluable(node.op) || engineDependentOps.has(node.op) || isLayer(node.op)) return undefined;
  const inputBytes = inputs.reduce((sum, input) => sum + input.byteLength, 0);
  // Inputs that others read too stay in the model.
  const freed = inputs.reduce((sum, input, i) => sum + (readers.count(node.inputs[i]!) === 1 ? input.byteLength : 0), 0);
  const outputs = outputsOf(node, known, readers);
  const outputBytes = outputs?.reduce((sum, output) => sum + output.byteLength, 0);
  if (outputBytes !== undefined && outputBytes > freed + GROWTH_BYTES) return undefined;
  const isLazy = inputs.some((input) => derived.isDerived(input));
  if (!isLazy && inputBytes <= SMALL_CONSTANT_BYTES && (outputBytes ?? 0) <= SMALL_CONSTANT_BYTES) {
    const results = evaluateNode(node, await Promise.all(inputs.map((input) => input.load())));
    if (!results || results.reduce((sum, result) => sum + byteLengthOf(result), 0) > freed + GROWTH_BYTES) return undefined;
    return results.map(toConstant);
  }
  const key = JSON.stringify([node.op, inputs.map((input) => derived.identify(input)), attributesKey(node, derived)]);
  return outputs?.map((output, index) =>
    derived.derive(`${key} ${index}`, () => ({ ...output, load: () => evaluateLater(node, inputs, index, output) })),
  );
}

/** What a lazy constant must say of itself; undefined when an output that is read has no known size. */
function outputsOf(node: GraphNode, known: (edge: Edge) => Known, readers: Readers): Omit<Constant, 'load'>[] | undefined {
  const outputs: Omit<Constant, 'load'>[] = [];
  const count =
    node.op === 'Split' || node.op === 'SplitV'
      ? attribute.numberOf(node, 'num_split')
      : node.op === 'Unpack'
        ? attribute.numberOf(node, 'num')
        : 1;
  for (let index = 0; index < count; index++) {
    const edge = { node: node.name, index };
    const { dtype, shape } = known(edge);
    const isUsable = isStatic(shape) && dtype !== 'resource' && dtype !== 'variant' && dtype !== 'string';
    if (!isUsable) {
      if (readers.count(edge) > 0) return undefined;
      return outputs;
    }
    outputs.push({ dtype, shape, byteLength: elementCount(shape) * bytesPerElement(dtype) });
  }
  return outputs;
}

async function evaluateLater(
  node: GraphNode,
  inputs: readonly Constant[],
  index: number,
  want: Omit<Constant, 'load'>,
): Promise<AnyTensor> {
  await undefined; // a turn of its own for each constant of a long chain, so that the stack stays flat
  const tensors: AnyTensor[] = [];
  for (const input of inputs) tensors.push(await input.load());
  const result = evaluateNode(node, tensors)?.[index];
  if (result?.dtype === want.dtype && result.shape.join() === want.shape.join()) return result;
  throw new NearfarError('invalid-argument', `${node.op} ${node.name} cannot be computed from its constants`, {
    details: {
      node: node.name,
      op: node.op,
      want: `${want.dtype} [${want.shape}]`,
      got: result ? `${result.dtype} [${result.shape}]` : 'nothing',
    },
  });
}

/** A tensor of whole numbers all of which shape inference could tell. */
function knownValue({ dtype, shape, values }: Known): AnyTensor | undefined {
  if (!values?.every((value) => value !== undefined && Number.isSafeInteger(value)) || !isStatic(shape)) return undefined;
  const numbers = values as readonly number[];
  if (dtype === 'int32') return tensorOf('int32', shape, Int32Array.from(numbers));
  return dtype === 'int64' ? fromBigints('int64', shape, numbers.map(BigInt)) : undefined;
}

function simplifyReshape(node: GraphNode, known: (edge: Edge) => Known, edit: ScopeEdit, constants: ReadonlyMap<string, Constant>): void {
  const [x, target] = node.inputs as readonly [Edge, Edge];
  const { shape } = known({ node: node.name, index: 0 });
  const { dtype, values } = known(target);
  const open = shape?.filter((size) => size === -1).length ?? 0;
  // With a size of zero the rest could be anything; of a target that is a constant nothing is gained.
  if (!shape || open > 1 || shape.includes(0) || constants.has(edgeKey(target)) || (dtype !== 'int32' && dtype !== 'int64')) return;
  if (values?.length !== shape.length) return;
  const data = createData('int32', shape.length);
  data.set(shape);
  const name = edit.nameFor(`${node.name}/shape`);
  const constant = edit.set(constNode(name, toConstant(tensorOf('int32', [shape.length], data))));
  edit.set({ ...node, inputs: [x, constant], attributes: { ...node.attributes, Tshape: attribute.type('int32') } });
}
