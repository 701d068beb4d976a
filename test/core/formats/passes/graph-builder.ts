import {
  type Attributes,
  attribute,
  type Constant,
  constNode,
  type Edge,
  type GraphFunction,
  type GraphNode,
  type GraphSignature,
  type ModelGraph,
  type Nodes,
  type PartialShape,
  sortNodes,
  toConstant,
} from '../../../../src/core/formats/graph/index.ts';
import { evaluateNode } from '../../../../src/core/formats/passes/index.ts';
import {
  type AnyTensor,
  createData,
  createTensor,
  type DType,
  numberToFloat16,
  type TensorMap,
} from '../../../../src/core/tensor/index.ts';

/** A tensor of plain values. */
export function tensor(dtype: DType, shape: readonly number[], values: readonly (number | string | boolean)[]): AnyTensor {
  if (dtype === 'string') {
    const data = values.map((value) => new TextEncoder().encode(String(value)));
    return createTensor('string', shape, data) as AnyTensor;
  }
  const data = createData(dtype, values.length) as { [index: number]: number | bigint };
  values.forEach((value, i) => {
    if (dtype === 'int64' || dtype === 'uint64') data[i] = BigInt(Number(value));
    else if (dtype === 'float16') data[i] = numberToFloat16(Number(value));
    else if (dtype === 'bfloat16') data[i] = new Uint32Array(Float32Array.of(Number(value)).buffer)[0]! >>> 16;
    else data[i] = Number(value);
  });
  return createTensor(dtype, shape, data as never) as AnyTensor;
}

/** float32 values that differ from each other and stay near zero; the same for the same seed. */
export function floats(shape: readonly number[], seed = 1): AnyTensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return tensor(
    'float32',
    shape,
    Array.from({ length: count }, (_, i) => Math.sin(seed * 12.9898 + i * 78.233) * 1.5),
  );
}

/** Builds small models, one call a node; each returns the edge of the first output. */
export class GraphBuilder {
  readonly nodes: Map<string, GraphNode> = new Map<string, GraphNode>();
  readonly functions: Map<string, GraphFunction> = new Map<string, GraphFunction>();

  op(op: string, inputs: readonly Edge[], attributes: Attributes = {}, name: string = `${op}${this.nodes.size}`): Edge {
    this.nodes.set(name, { name, op, inputs, controls: [], attributes });
    return { node: name, index: 0 };
  }

  input(name: string, shape: PartialShape, dtype: DType = 'float32'): Edge {
    return this.op('Placeholder', [], { dtype: attribute.type(dtype), shape: attribute.shape(shape) }, name);
  }

  constant(value: AnyTensor | Constant, name: string = `Const${this.nodes.size}`): Edge {
    this.nodes.set(name, constNode(name, 'load' in value ? value : toConstant(value)));
    return { node: name, index: 0 };
  }

  ints(...values: readonly number[]): Edge {
    return this.constant(tensor('int32', [values.length], values));
  }

  int(value: number): Edge {
    return this.constant(tensor('int32', [], [value]));
  }

  floats(shape: readonly number[], seed = this.nodes.size + 1): Edge {
    return this.constant(floats(shape, seed));
  }

  float(value: number): Edge {
    return this.constant(tensor('float32', [], [value]));
  }

  /** The model whose signature reads all placeholders and gives these edges. */
  model(outputs: Readonly<Record<string, Edge>>): ModelGraph {
    const inputs = [...this.nodes.values()].filter((node) => node.op === 'Placeholder');
    const signature: GraphSignature = {
      method: 'predict',
      inputs: Object.fromEntries(
        inputs.map((node) => [
          node.name,
          { node: node.name, dtype: attribute.dtypeOf(node, 'dtype'), shape: attribute.shapeOf(node, 'shape') },
        ]),
      ),
      outputs: Object.fromEntries(Object.entries(outputs).map(([key, edge]) => [key, { edge, dtype: 'float32', shape: undefined }])),
    };
    return { nodes: this.nodes, functions: this.functions, signatures: { serving_default: signature }, unusable: {} };
  }
}

/** Runs a signature node by node; control flow is beyond it. */
export async function runGraph(model: ModelGraph, inputs: TensorMap, signatureName = 'serving_default'): Promise<TensorMap> {
  const signature = model.signatures[signatureName]!;
  const results = new Map<string, readonly AnyTensor[]>();
  for (const [key, { node }] of Object.entries(signature.inputs)) results.set(node, [inputs[key]!]);
  for (const node of sortNodes(model.nodes)) {
    if (results.has(node.name)) continue;
    if (node.op === 'Const') results.set(node.name, [await attribute.constantOf(node).load()]);
    else {
      const computed = evaluateNode(
        node,
        node.inputs.map((input) => results.get(input.node)![input.index]!),
      );
      if (!computed) throw new Error(`cannot evaluate ${node.op} ${node.name}`);
      results.set(node.name, computed);
    }
  }
  return Object.fromEntries(Object.entries(signature.outputs).map(([key, { edge }]) => [key, results.get(edge.node)![edge.index]!]));
}

/** How often each operator occurs, constants aside. */
export function opsOf(nodes: Nodes): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { op } of nodes.values()) if (op !== 'Const') counts[op] = (counts[op] ?? 0) + 1;
  return counts;
}
