import { formatDecimal } from './json-decimal.ts';
import type { JsonDocument, JsonKind } from './json-reader.ts';
import { JsonWriter } from './json-writer.ts';

/** TensorFlow Serving cuts a value it echoes in an error to this length. */
const maxEchoLength = 256;

const typeNames: Readonly<Record<JsonKind, string>> = {
  null: 'Null',
  false: 'False',
  true: 'True',
  integer: 'Number',
  bigint: 'Number',
  decimal: 'Number',
  string: 'String',
  array: 'Array',
  object: 'Object',
  numbers: 'Array',
};

/** RapidJSON's word for the kind of a value, in error texts. */
export function jsonTypeName(document: JsonDocument, index: number): string {
  return typeNames[document.kind(index)];
}

/** A value as text for an error, cut to 256 characters. */
export function describeJson(document: JsonDocument, index: number): string {
  const writer = new JsonWriter();
  const end = document.next(index);
  // A value takes at least one character, so what lies further cannot be seen.
  const cut = Math.min(end, index + maxEchoLength);
  const opened: { readonly end: number; readonly isArray: boolean }[] = [];
  const closeEnded = (at: number) => {
    for (let top = opened.at(-1); top && at >= top.end; top = opened.at(-1)) {
      opened.pop();
      if (top.isArray) writer.endArray();
      else writer.endObject();
    }
  };
  for (let at = index; at < cut; at++) {
    closeEnded(at);
    const kind = document.kind(at);
    if (kind === 'array' || kind === 'object') {
      opened.push({ end: document.next(at), isArray: kind === 'array' });
      if (kind === 'array') writer.startArray();
      else writer.startObject();
    } else {
      writer.raw(scalarText(document, at));
    }
  }
  closeEnded(end);
  return writer.text().slice(0, maxEchoLength);
}

function scalarText(document: JsonDocument, index: number): string {
  const kind = document.kind(index);
  switch (kind) {
    case 'string':
      return JSON.stringify(document.string(index).slice(0, maxEchoLength));
    case 'integer':
    case 'bigint':
      return document.bigint(index).toString();
    case 'decimal':
      return formatDecimal(document.number(index), 'float64');
    default:
      return kind;
  }
}

/** A value as plain JavaScript, for the small parts of a request that carry no tensor; what is nested deeper than `maxDepth` becomes null. */
export function toPlain(document: JsonDocument, index: number, maxDepth = 16): unknown {
  const kind = document.kind(index);
  switch (kind) {
    case 'null':
      return null;
    case 'true':
    case 'false':
      return kind === 'true';
    case 'integer':
    case 'decimal':
      return document.number(index);
    case 'bigint':
      return document.bigint(index);
    case 'numbers':
      return Array.from(document.numbers(index).values);
    case 'string':
      return document.string(index);
    case 'array':
      return maxDepth === 0 ? null : Array.from(document.elements(index), (element) => toPlain(document, element, maxDepth - 1));
    case 'object':
      return maxDepth === 0
        ? null
        : Object.fromEntries(Array.from(document.members(index), ([name, value]) => [name, toPlain(document, value, maxDepth - 1)]));
  }
}
