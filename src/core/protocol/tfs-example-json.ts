import { decodeBase64 } from '../base64.ts';
import { NearfarError } from '../errors.ts';
import { type ExampleFeature, encodeExample } from '../formats/index.ts';
import { withContext } from './example-input.ts';
import { formatDecimal } from './json-decimal.ts';
import type { JsonDocument } from './json-reader.ts';
import { isBase64Object } from './json-tensor.ts';
import { jsonTypeName } from './json-text.ts';
import { JsonWriter } from './json-writer.ts';
import { malformed, readRequest } from './tfs-request.ts';

export interface JsonExamplesRequest {
  /** As written; '' where the request names none. */
  readonly signatureName: string;
  /** Each a serialized tf.Example, the context in front of it. */
  readonly examples: readonly Uint8Array<ArrayBuffer>[];
}

/**
 * The body of TensorFlow Serving's `:classify` and `:regress`, with its rules and error texts (json_tensor.cc).
 * @throws {NearfarError} `invalid-argument`.
 */
export function decodeExamplesJson(body: Uint8Array): JsonExamplesRequest {
  const { document, signatureName } = readRequest(body);
  const contextAt = document.member(0, 'context');
  const context = contextAt === undefined ? undefined : encodeJsonExample(document, contextAt);
  const list = document.member(0, 'examples');
  // The text says classify for both methods, as theirs does.
  if (list === undefined) throw malformed(document, "When method is classify, key 'examples' is expected and was not found");
  if (document.kind(list) !== 'array') throw malformed(document, "Expecting 'examples' value to be an list/array");
  if (document.size(list) === 0) throw malformed(document, "'examples' value is an empty array");
  const examples = Array.from(document.elements(list), (example) => encodeJsonExample(document, example));
  return { signatureName, examples: withContext(context, examples) };
}

function encodeJsonExample(document: JsonDocument, index: number): Uint8Array<ArrayBuffer> {
  if (document.kind(index) !== 'object') throw invalid(`Example must be JSON object but got JSON ${jsonTypeName(document, index)}`);
  const features = new Map<string, ExampleFeature>();
  for (const [name, content] of document.members(index)) features.set(name, readFeature(document, content, name));
  return encodeExample(features);
}

type Value =
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int64'; readonly value: bigint };

/** One value or a list of values, all of the kind of the first. */
function readFeature(document: JsonDocument, index: number, name: string): ExampleFeature {
  const elements = document.kind(index) === 'array' ? document.elements(index) : [index];
  const values = Array.from(elements, (element) => readValue(document, element, name));
  const kind = values[0]?.kind;
  if (values.some((value) => value.kind !== kind)) throw invalid(`Unexpected element type in feature: ${name} expecting type: ${kind}`);
  return { kind, values: values.map(({ value }) => value) } as ExampleFeature;
}

function readValue(document: JsonDocument, index: number, name: string): Value {
  switch (document.kind(index)) {
    case 'true':
    case 'false':
      return { kind: 'int64', value: document.kind(index) === 'true' ? 1n : 0n };
    case 'integer':
    case 'bigint': {
      const value = document.bigint(index);
      if (value >= 2n ** 63n) throw invalid(`Feature: ${name} has uint64 element. Only int64 is supported.`);
      return { kind: 'int64', value };
    }
    case 'decimal':
      // What a float32 cannot hold is rounded, or infinite, without a word.
      return { kind: 'float', value: Math.fround(document.number(index)) };
    case 'string':
      return { kind: 'bytes', value: new TextEncoder().encode(document.string(index)) };
    case 'object': {
      if (!isBase64Object(document, index)) break;
      const value = decodeBase64(document.string(index + 2));
      if (!value) throw invalid('Unable to base64 decode');
      return { kind: 'bytes', value };
    }
  }
  throw invalid(`Feature: ${name} has element with unexpected JSON type: ${jsonTypeName(document, index)}`);
}

/** The answer of `:classify`: the classes of each example, each a label and a score. */
export function encodeClassificationsJson(examples: readonly (readonly { readonly label: string; readonly score: number }[])[]): string {
  const writer = startResults();
  writer.startArray();
  for (const classes of examples) {
    writer.isSingleLine = true;
    writer.startArray();
    for (const { label, score } of classes) {
      writer.startArray();
      writer.string(label);
      writer.raw(formatDecimal(score, 'float32'));
      writer.endArray();
    }
    writer.endArray();
    writer.isSingleLine = false;
  }
  return endResults(writer);
}

/** The answer of `:regress`: one value for each example. */
export function encodeRegressionsJson(values: readonly number[]): string {
  const writer = startResults();
  writer.isSingleLine = true;
  writer.startArray();
  for (const value of values) writer.raw(formatDecimal(value, 'float32'));
  return endResults(writer);
}

function startResults(): JsonWriter {
  const writer = new JsonWriter();
  writer.startObject();
  // The documentation says `result`, the server `results`.
  writer.string('results');
  return writer;
}

function endResults(writer: JsonWriter): string {
  writer.endArray();
  writer.endObject();
  return writer.text();
}

function invalid(message: string): NearfarError {
  return new NearfarError('invalid-argument', message);
}
