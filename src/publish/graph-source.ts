import {
  type EmittedFile,
  type EmittedModel,
  type GraphSignature,
  type ModelGraph,
  NearfarError,
  serializeError,
  type Variant,
} from '../core/index.ts';
import type { Source, SourceFile, SourceSignature } from './source.ts';

/** A variant that could not be written from a graph, and why. */
export interface SkippedVariant {
  readonly variant: string;
  readonly code: string;
  readonly message: string;
}

/** Where a graph came from. */
export interface GraphOrigin {
  readonly origin: string;
  readonly originals: Readonly<Record<string, string>>;
}

/** The writer of one format: what they cannot express by signature, and the model in a precision. */
export interface GraphWriter {
  readonly format: Source['format'];
  readonly check: (graph: ModelGraph) => Promise<Readonly<Record<string, readonly string[]>>>;
  readonly write: (graph: ModelGraph, precision: Variant['precision']) => Promise<EmittedModel>;
}

/**
 * Writes a graph in every wanted format and precision. Signatures that no format can run are dropped; a format that cannot run all that
 * are left is skipped, since every variant answers every signature.
 * @throws {NearfarError} `unsupported` that lists all reasons, when no signature is left.
 */
export async function writeGraphSources(
  graph: ModelGraph,
  wanted: readonly { readonly writer: GraphWriter; readonly precisions: readonly Variant['precision'][] }[],
  { origin, originals }: GraphOrigin,
): Promise<{ sources: Source[]; skipped: SkippedVariant[]; graph: ModelGraph }> {
  const problems = await Promise.all(wanted.map(({ writer }) => writer.check(graph)));
  const usable = chooseSignatures(graph, problems);
  const sources: Source[] = [];
  const skipped: SkippedVariant[] = [];
  for (const [index, { writer, precisions }] of wanted.entries()) {
    const { format, write } = writer;
    const reasons = Object.keys(usable.signatures).flatMap((name) => problems[index]?.[name] ?? []);
    for (const precision of precisions) {
      const variant = `${format === 'onnx' ? 'onnx' : 'tfjs'}-${precision}`;
      if (reasons.length > 0) skipped.push({ variant, code: 'unsupported', message: [...new Set(reasons)].join('; ') });
      else {
        try {
          sources.push(await toSource(await write(usable, precision), usable, { origin, originals }));
        } catch (error) {
          if (!(error instanceof NearfarError) || error.code !== 'unsupported') throw error;
          const { code, message } = serializeError(error);
          skipped.push({ variant, code, message });
        }
      }
    }
  }
  if (sources.length > 0) return { sources, skipped, graph: usable };
  throw new NearfarError(
    'unsupported',
    `the model cannot be written: ${skipped.map(({ variant, message }) => `${variant}: ${message}`).join('; ')}`,
    {
      details: { skipped: skipped.map((each) => ({ ...each })) },
    },
  );
}

/** The signatures of the first format that can run any; with none, all reasons are told. */
function chooseSignatures(graph: ModelGraph, problems: readonly Readonly<Record<string, readonly string[]>>[]): ModelGraph {
  const names = Object.keys(graph.signatures);
  for (const ofFormat of problems) {
    const good = names.filter((name) => (ofFormat[name] ?? []).length === 0);
    if (good.length === 0) continue;
    const bad = names.filter((name) => !good.includes(name));
    const unusable = { ...graph.unusable, ...Object.fromEntries(bad.map((name) => [name, ofFormat[name] ?? []])) };
    return { ...graph, signatures: pick(graph.signatures, good), unusable };
  }
  const reasons = [
    ...problems.flatMap((ofFormat) => Object.entries(ofFormat).flatMap(([name, list]) => list.map((reason) => `${name}: ${reason}`))),
    ...Object.entries(graph.unusable).flatMap(([name, list]) => list.map((reason) => `${name}: ${reason}`)),
  ];
  throw new NearfarError('unsupported', `no signature of the model can be run: ${[...new Set(reasons)].join('; ')}`, {
    details: { reasons: [...new Set(reasons)] },
  });
}

function pick<T>(record: Readonly<Record<string, T>>, names: readonly string[]): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => names.includes(name)));
}

async function toSource(model: EmittedModel, graph: ModelGraph, { origin, originals }: GraphOrigin): Promise<Source> {
  const files: [string, SourceFile][] = [];
  for (const [name, file] of model.files) files.push([name, { bytes: await collect(file), tensors: file.tensors }]);
  const signatures = Object.entries(graph.signatures).map(([name, signature]) => [name, bind(signature, model.bindings[name])] as const);
  const { format, precision, ops, entry } = model;
  return { origin, graph, format, precision, ops, entry, originals, files: new Map(files), signatures: Object.fromEntries(signatures) };
}

function bind({ method, inputs, outputs }: GraphSignature, bindings: EmittedModel['bindings'][string] | undefined): SourceSignature {
  const own = (kind: 'inputs' | 'outputs', tensors: GraphSignature['inputs'] | GraphSignature['outputs']) =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, { dtype, shape }]) => {
        const binding = bindings?.[kind][name];
        if (!binding) throw new NearfarError('internal', `a writer bound no tensor to ${name}`, { details: { name } });
        return [name, { dtype, shape, ...binding }];
      }),
    );
  return { method, inputs: own('inputs', inputs), outputs: own('outputs', outputs) };
}

/** A written file, whole. */
export async function collect({ byteLength, read }: EmittedFile): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(byteLength);
  let position = 0;
  for await (const part of read()) {
    bytes.set(part, position);
    position += part.byteLength;
  }
  if (position === byteLength) return bytes;
  throw new NearfarError('internal', `a writer announced ${byteLength} bytes and wrote ${position}`);
}
