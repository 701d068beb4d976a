import type { ModelGraph } from '../graph/index.ts';
import type { ModelFile } from '../model-folder.ts';
import { damaged } from './damaged.ts';
import { type FlatNode, Flattener, parseEdge, type Scope } from './flatten.ts';
import { createFreezeContext } from './freeze.ts';
import { readMessage } from './message-file.ts';
import { OpDefs } from './op-defs.ts';
import { graphDef, type NodeDef, type SignatureDef, type TensorInfo } from './schema.ts';
import { buildModel } from './signatures.ts';

export interface GraphDefOptions {
  /** Names of the tensors that are outputs, such as `softmax` or `split:1`. @default the nodes that no other reads */
  readonly outputs?: readonly string[];
  /** Names of the tensors that are inputs. @default the placeholders that the outputs need */
  readonly inputs?: readonly string[];
}

/**
 * Reads a frozen GraphDef (`.pb` or `.pbtxt`). Its one signature, `serving_default`, has the placeholders as inputs and the nodes that no
 * other reads as outputs, by their names.
 * @throws {NearfarError} `invalid-argument` when it is damaged; `unsupported`, with every reason, when it cannot be run, for one because its
 * variables are not frozen.
 */
export async function readGraphDef(file: ModelFile | Uint8Array, options: GraphDefOptions = {}): Promise<ModelGraph> {
  const graph = await readMessage(graphDef, file);
  if (graph.node.length === 0) throw damaged('the graph has no nodes');
  const functions = graph.library?.function ?? [];
  const ops = new OpDefs([], functions);
  const flattener = new Flattener(functions, ops);
  const scope = flattener.graph(graph.node);
  const outputs = options.outputs ?? unreadTensors(graph.node, scope, ops);
  const inputs = options.inputs ?? placeholdersFor(scope, outputs);
  const definition: SignatureDef = {
    inputs: new Map(inputs.map((name) => [name, infoOf(name, scope, ops)])),
    outputs: new Map(outputs.map((name) => [name, infoOf(name, scope, ops)])),
    method_name: 'tensorflow/serving/predict',
  };
  return buildModel(scope, createFreezeContext(flattener, ops), new Map([['serving_default', definition]]), graph.versions?.producer ?? 0);
}

/** All outputs of the nodes that no other reads; constants and placeholders are no results. */
function unreadTensors(nodes: readonly NodeDef[], scope: Scope, ops: OpDefs): string[] {
  const read = new Set(nodes.flatMap(({ input }) => input.map((text) => text.replace(/:\d+$/, ''))));
  const results = nodes.filter(({ name, op }) => !read.has(name) && !/^(Const|Placeholder.*|NoOp|Assert|PrintV2)$/.test(op));
  return results.flatMap(({ name, op, attr }) => {
    const types = ops.outputTypes(op, ops.complete(op, attr));
    // The others of batch normalisation are for training only.
    const count = op.startsWith('FusedBatchNorm') ? 1 : types.length;
    const texts = Array.from({ length: count }, (_, index) => (index === 0 ? name : `${name}:${index}`));
    return texts.filter((text) => scope.nodes.has(scope.resolve(parseEdge(text)).node));
  });
}

function placeholdersFor(scope: Scope, outputs: readonly string[]): string[] {
  const needed = reachedFrom(
    scope,
    outputs.map((name) => scope.resolve(parseEdge(name)).node),
  );
  return needed.filter(({ op }) => op === 'Placeholder' || op === 'PlaceholderV2').map(({ name }) => name);
}

function reachedFrom(scope: Scope, roots: readonly string[]): FlatNode[] {
  const found = new Map<string, FlatNode>();
  const open = [...roots];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = scope.nodes.get(name);
    if (!node || found.has(name)) continue;
    found.set(name, node);
    for (const input of node.inputs) open.push(input.node);
  }
  return [...found.values()];
}

function infoOf(name: string, scope: Scope, ops: OpDefs): TensorInfo {
  const edge = scope.resolve(parseEdge(name));
  const node = scope.nodes.get(edge.node);
  const dtype = node && ops.outputTypes(node.op, node.attrs)[edge.index];
  return { name, dtype: dtype ?? 0, tensor_shape: undefined, coo_sparse: undefined, composite_tensor: undefined };
}
