import { NearfarError } from '../../errors.ts';
import type { DType } from '../../tensor/index.ts';
import type { Attribute, Constant, GraphDType, GraphNode, PartialShape } from './graph.ts';

type Kind = Attribute['kind'];
type Values = { readonly [K in Kind]: Extract<Attribute, { kind: K }>['value'] };

/** The value of an attribute of this kind; undefined when the node has none of that name. */
function find<K extends Kind>(node: GraphNode, name: string, kind: K): Values[K] | undefined {
  const attribute = Object.hasOwn(node.attributes, name) ? node.attributes[name] : undefined;
  if (attribute === undefined) return undefined;
  if (attribute.kind === kind) return attribute.value as Values[K]; // the kind names the value's type
  throw new NearfarError('invalid-argument', `attribute ${name} of ${node.op} ${node.name} is a ${attribute.kind}, expected a ${kind}`, {
    details: { node: node.name, op: node.op, attribute: name, want: kind, got: attribute.kind },
  });
}

function required<T>(node: GraphNode, name: string, value: T | undefined): T {
  if (value !== undefined) return value;
  throw new NearfarError('invalid-argument', `${node.op} ${node.name} has no attribute ${name}`, {
    details: { node: node.name, op: node.op, attribute: name },
  });
}

// Each reads one attribute; without `fallback` a missing one is `invalid-argument`.

export function numberOf(node: GraphNode, name: string, fallback?: number): number {
  const attribute = node.attributes[name];
  return required(node, name, find(node, name, attribute?.kind === 'float' ? 'float' : 'int') ?? fallback);
}

export function boolOf(node: GraphNode, name: string, fallback?: boolean): boolean {
  return required(node, name, find(node, name, 'bool') ?? fallback);
}

export function stringOf(node: GraphNode, name: string, fallback?: string): string {
  return required(node, name, find(node, name, 'string') ?? fallback);
}

export function typeOf(node: GraphNode, name: string, fallback?: GraphDType): GraphDType {
  return required(node, name, find(node, name, 'type') ?? fallback);
}

/** A type that is no handle. */
export function dtypeOf(node: GraphNode, name: string, fallback?: DType): DType {
  const type = typeOf(node, name, fallback);
  if (type !== 'resource' && type !== 'variant') return type;
  throw new NearfarError('unsupported', `${node.op} ${node.name} has the ${name} ${type}`, { details: { node: node.name, op: node.op } });
}

/** Undefined for a shape of unknown rank, and for a missing one. */
export function shapeOf(node: GraphNode, name: string): PartialShape {
  return find(node, name, 'shape');
}

export function constantOf(node: GraphNode, name = 'value'): Constant {
  return required(node, name, find(node, name, 'tensor'));
}

export function functionOf(node: GraphNode, name: string): string {
  return required(node, name, find(node, name, 'function'));
}

export function numbersOf(node: GraphNode, name: string, fallback?: readonly number[]): readonly number[] {
  const list = find(node, name, 'list');
  return required(node, name, list?.map((item) => item.value as number) ?? fallback); // TensorFlow's op definitions type the list
}

export function stringsOf(node: GraphNode, name: string, fallback?: readonly string[]): readonly string[] {
  const list = find(node, name, 'list');
  return required(node, name, list?.map((item) => String(item.value)) ?? fallback);
}

export function typesOf(node: GraphNode, name: string, fallback?: readonly GraphDType[]): readonly GraphDType[] {
  const list = find(node, name, 'list');
  return required(node, name, list?.map((item) => item.value as GraphDType) ?? fallback); // TensorFlow's op definitions type the list
}

// Makers of attributes, so that a node can be written in one line.

export const int = (value: number): Attribute => ({ kind: 'int', value });
export const float = (value: number): Attribute => ({ kind: 'float', value });
export const bool = (value: boolean): Attribute => ({ kind: 'bool', value });
export const string = (value: string): Attribute => ({ kind: 'string', value });
export function stringOfBytes(bytes: Uint8Array): Attribute {
  try {
    return string(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return { kind: 'string', value: new TextDecoder().decode(bytes), bytes };
  }
}
export const type = (value: GraphDType): Attribute => ({ kind: 'type', value });
export const shape = (value: PartialShape): Attribute => ({ kind: 'shape', value });
export const tensor = (value: Constant): Attribute => ({ kind: 'tensor', value });
export const ints = (values: readonly number[]): Attribute => ({ kind: 'list', value: values.map(int) });
export const strings = (values: readonly string[]): Attribute => ({ kind: 'list', value: values.map(string) });
export const types = (values: readonly GraphDType[]): Attribute => ({ kind: 'list', value: values.map(type) });
