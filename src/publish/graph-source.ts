import {
  type EmittedModel,
  type GraphSignature,
  type ModelGraph,
  NearfarError,
  type PrunedGraph,
  pruneWeights,
  serializeError,
  type Variant,
} from '../core/index.ts';
import type { Source, SourceFile, SourceSignature } from './source.ts';
import type { KeepFile } from './source-file.ts';

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
  /** Share of the elements of large weights that become zero. */
  readonly prune: number;
  readonly keep: KeepFile;
}

/** The writer of one format: what they cannot express by signature, and the model in a precision. */
export interface GraphWriter {
  readonly format: Source['format'];
  readonly check: (graph: ModelGraph) => Promise<Readonly<Record<string, readonly string[]>>>;
  readonly write: (graph: ModelGraph, precision: Variant['precision']) => Promise<EmittedModel>;
}

/**
 * Writes a graph in every wanted format and precision. Signatures that no format can run are dropped; a format that cannot run all that
 * are left is skipped, since every variant answers every signature. A format whose float32 is not wanted gets it as a hidden source, to
 * record the right answers with.
 * @throws {NearfarError} `unsupported` that lists all reasons, when no signature is left.
 */
export async function writeGraphSources(
  graph: ModelGraph,
  wanted: readonly { readonly writer: GraphWriter; readonly precisions: readonly Variant['precision'][] }[],
  about: GraphOrigin,
): Promise<{ sources: Source[]; skipped: SkippedVariant[]; graph: ModelGraph }> {
  const problems = await Promise.all(wanted.map(({ writer }) => writer.check(graph)));
  const usable = chooseSignatures(graph, problems);
  const pruned = about.prune > 0 ? pruneWeights(usable, about.prune) : undefined;
  const sources: Source[] = [];
  const skipped: SkippedVariant[] = [];
  for (const [index, { writer, precisions }] of wanted.entries()) {
    const reasons = Object.keys(usable.signatures).flatMap((name) => problems[index]?.[name] ?? []);
    const made: Source[] = [];
    for (const precision of precisions) {
      const variant = `${writer.format === 'onnx' ? 'onnx' : 'tfjs'}-${precision}`;
      if (reasons.length > 0) skipped.push({ variant, code: 'unsupported', message: [...new Set(reasons)].join('; ') });
      else {
        try {
          made.push(await writeSource(writer, precision, usable, pruned, about));
        } catch (error) {
          if (!(error instanceof NearfarError) || error.code !== 'unsupported') throw error;
          const { code, message } = serializeError(error);
          skipped.push({ variant, code, message });
        }
      }
    }
    if (made.length > 0 && !made.some(({ precision }) => precision === 'float32')) {
      made.push({ ...(await writeSource(writer, 'float32', usable, pruned, about)), isHidden: true });
    }
    sources.push(...made);
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

async function writeSource(
  { write }: GraphWriter,
  wanted: Variant['precision'],
  whole: ModelGraph,
  pruned: PrunedGraph | undefined,
  { origin, originals, keep }: GraphOrigin,
): Promise<Source> {
  const graph = pruned?.model ?? whole;
  const model = await write(graph, wanted);
  const signatures = Object.entries(graph.signatures).map(([name, signature]) => [name, bind(signature, model.bindings[name])] as const);
  const { format, precision, ops, entry } = model;
  return {
    ...{ origin, graph, format, precision, ops, entry, originals },
    signatures: Object.fromEntries(signatures),
    files: await keepFiles(model, keep),
    ...(pruned && {
      unpruned: await keepFiles(await write(whole, wanted), keep),
      pruning: { weights: pruned.weights, elements: pruned.elements, zeros: pruned.zeros },
    }),
  };
}

async function keepFiles({ files }: EmittedModel, keep: KeepFile): Promise<ReadonlyMap<string, SourceFile>> {
  const kept: [string, SourceFile][] = [];
  for (const [name, file] of files) kept.push([name, await keep(file)]);
  return new Map(kept);
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
