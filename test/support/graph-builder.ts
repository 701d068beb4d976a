import {
  type Attribute,
  type Attributes,
  attribute,
  constNode,
  type Edge,
  type GraphDType,
  type GraphFunction,
  type GraphNode,
  type GraphSignature,
  type ModelGraph,
  toConstant,
} from '../../src/core/formats/graph/index.ts';
import { type AnyTensor, createTensor, type DType } from '../../src/core/index.ts';

/** Nodes that a test writes down one by one; each call gives the edge of the node's first output. */
export class GraphBuilder {
  readonly nodes = new Map<string, GraphNode>();

  op(name: string, op: string, inputs: readonly Edge[] = [], attributes: Attributes = {}, controls: readonly string[] = []): Edge {
    this.nodes.set(name, { name, op, inputs, controls, attributes });
    return { node: name, index: 0 };
  }

  input(name: string, dtype: DType, shape: readonly number[] | undefined): Edge {
    return this.op(name, 'Placeholder', [], { dtype: attribute.type(dtype), shape: attribute.shape(shape) });
  }

  arg(index: number, dtype: GraphDType = 'float32'): Edge {
    return this.op(`arg${index}`, '_Arg', [], { T: attribute.type(dtype), index: attribute.int(index) });
  }

  constant(name: string, value: AnyTensor): Edge {
    this.nodes.set(name, constNode(name, toConstant(value)));
    return { node: name, index: 0 };
  }

  floats(name: string, values: readonly number[], shape: readonly number[] = []): Edge {
    return this.constant(name, createTensor('float32', shape, Float32Array.from(values)));
  }

  ints(name: string, values: readonly number[], shape: readonly number[] = []): Edge {
    return this.constant(name, createTensor('int32', shape, Int32Array.from(values)));
  }

  function(inputs: number, outputs: readonly Edge[]): GraphFunction {
    return { inputs: Array.from({ length: inputs }, (_, index) => `arg${index}`), outputs, nodes: this.nodes };
  }
}

export function functionAttribute(name: string): Attribute {
  return { kind: 'function', value: name };
}

/** A model of one signature or more, whose outputs are named by their keys. */
export function modelGraph(
  { nodes }: GraphBuilder,
  signatures: Readonly<Record<string, { inputs: readonly string[]; outputs: Readonly<Record<string, readonly [Edge, DType]>> }>>,
  functions: Readonly<Record<string, GraphFunction>> = {},
): ModelGraph {
  const described = Object.entries(signatures).map(([name, { inputs, outputs }]): [string, GraphSignature] => {
    const describe = (node: string) => {
      const attributes = nodes.get(node)!.attributes;
      const { dtype, shape } = attributes;
      if (dtype?.kind !== 'type' || shape?.kind !== 'shape') throw new Error(`${node} is no placeholder`);
      return [node, { node, dtype: dtype.value as DType, shape: shape.value }] as const;
    };
    return [
      name,
      {
        method: 'predict',
        inputs: Object.fromEntries(inputs.map(describe)),
        outputs: Object.fromEntries(Object.entries(outputs).map(([key, [edge, dtype]]) => [key, { edge, dtype, shape: undefined }])),
      },
    ];
  });
  return { nodes, functions: new Map(Object.entries(functions)), signatures: Object.fromEntries(described), unusable: {} };
}
