import { type Attribute, attribute } from '../graph/index.ts';
import { graphDType } from './data-types.ts';
import type { AttrValue } from './schema.ts';
import { constantOfProto, partialShape } from './tensor.ts';

/**
 * An attribute of the graph; undefined for one that was left empty.
 * @throws {NearfarError} `unsupported` for a type without a dtype here.
 */
export function convertAttribute(value: AttrValue, where: string): Attribute | undefined {
  const { s, i, f, b, type, shape, tensor, list, func } = value;
  if (s !== undefined) return attribute.stringOfBytes(s);
  if (i !== undefined) return { kind: 'int', value: i };
  if (f !== undefined) return { kind: 'float', value: f };
  if (b !== undefined) return { kind: 'bool', value: b };
  if (type !== undefined) return { kind: 'type', value: graphDType(type, where) };
  if (shape) return { kind: 'shape', value: partialShape(shape) };
  if (tensor) return { kind: 'tensor', value: constantOfProto(tensor, where) };
  if (func) return { kind: 'function', value: func.name };
  if (!list) return undefined;
  const items: Attribute[] = [
    ...list.s.map(attribute.stringOfBytes),
    ...list.i.map((value): Attribute => ({ kind: 'int', value })),
    ...list.f.map((value): Attribute => ({ kind: 'float', value })),
    ...list.b.map((value): Attribute => ({ kind: 'bool', value })),
    ...list.type.map((value): Attribute => ({ kind: 'type', value: graphDType(value, where) })),
    ...list.shape.map((value): Attribute => ({ kind: 'shape', value: partialShape(value) })),
    ...list.tensor.map((value): Attribute => ({ kind: 'tensor', value: constantOfProto(value, where) })),
    ...list.func.map(({ name }): Attribute => ({ kind: 'function', value: name })),
  ];
  return { kind: 'list', value: items };
}
