import { createGzip } from 'node:zlib';
import {
  type BackendId,
  compareOutputs,
  decodeSafetensors,
  type Engine,
  type LoadedVariant,
  type Manifest,
  NearfarError,
  serializeError,
  type TensorMap,
  type Variant,
} from '../core/index.ts';
import type { BuiltVersion } from './build.ts';
import type { SkippedVariant } from './graph-source.ts';
import { checkBackends, type OpenEngine } from './run.ts';
import type { Source, SourceFile } from './source.ts';
import { collect } from './source-file.ts';

/** How far the outputs of two models are from each other. */
export interface Distance {
  /** Golden examples and samples. */
  readonly examples: number;
  /** Largest differences of any output. */
  readonly absolute: number;
  readonly relative: number;
  /** Share of rows whose largest value is in the same place; null where no output has classes. */
  readonly top1: number | null;
}

/** How a variant of less precision compares with the float32 one of its format, on one backend of this machine. */
export interface VariantMeasure extends Distance {
  readonly variant: string;
  /** The float32 variant it is held against, which may not be published itself. */
  readonly reference: string;
  readonly backend: BackendId;
  readonly bytes: number;
  /** Of its bytes to the reference's. */
  readonly bytesRatio: number;
}

/** What pruning did. The right answers are those of the model before it. */
export interface PruningMeasure extends Distance {
  readonly backend: BackendId;
  /** How many weights were pruned, how many elements they have, how many of these pruning made zero. */
  readonly weights: number;
  readonly elements: number;
  readonly zeros: number;
  readonly sparsity: number;
  readonly variants: readonly {
    readonly variant: string;
    /** Share of zeros among the elements of the pruned weights. */
    readonly sparsity: number;
    /** What a host that compresses with gzip sends, before and after. */
    readonly compressedBytes: { readonly before: number; readonly after: number };
    readonly isSmaller: boolean;
  }[];
}

export interface MeasureOptions {
  readonly openEngine: OpenEngine;
  /** Inputs of a signature, beside the golden examples. */
  readonly samples: readonly { readonly signature: string; readonly inputs: TensorMap }[];
  /** Least share of rows with the same best class. */
  readonly minAgreement: number;
  readonly signal?: AbortSignal | undefined;
  /** Called before each example of a variant. */
  readonly onProgress?: ((what: string, done: number, total: number) => void) | undefined;
}

/**
 * Measures every variant that was written with less precision beside its float32 sibling, on golden examples and samples. One that is
 * outside its tolerance on a golden example, or agrees on too few best classes, is rejected.
 */
export async function measureVariants(
  built: BuiltVersion,
  options: MeasureOptions,
): Promise<{ measures: VariantMeasure[]; rejected: SkippedVariant[] }> {
  const manifest = built.manifest('1');
  const measures: VariantMeasure[] = [];
  const rejected: SkippedVariant[] = [];
  const { pairs, total } = pairsOf(manifest);
  for (const { reference, others } of pairs) {
    await using engine = await openFirst(checkBackends[reference.format], options);
    await using right = await load(engine, manifest, reference, built, options.signal);
    for (const variant of others) {
      const done = measures.length + rejected.length;
      const onExample = (index: number, count: number) => options.onProgress?.(variant.id, done + index / count, total);
      try {
        await using own = await load(engine, manifest, variant, built, options.signal);
        const { outside, ...distance } = await compare(manifest, variant, own, right, built, { ...options, onExample, isGolden: true });
        measures.push({
          variant: variant.id,
          reference: reference.id,
          backend: engine.backend as BackendId, // engines here are local
          ...distance,
          bytes: sizeOf(manifest, variant),
          bytesRatio: sizeOf(manifest, variant) / sizeOf(manifest, reference),
        });
        const message = outside ?? tooFew(distance, options.minAgreement);
        if (message) rejected.push({ variant: variant.id, code: 'self-test-failed', message: `${message} (${reference.id})` });
      } catch (error) {
        if (!(error instanceof NearfarError) || options.signal?.aborted) throw error;
        const { code, message } = serializeError(error);
        rejected.push({ variant: variant.id, code, message });
      }
    }
  }
  return { measures, rejected };
}

/** The first float32 variant of each format, with those of less precision. */
function pairsOf({ variants }: Manifest): { pairs: { reference: Variant; others: Variant[] }[]; total: number } {
  const full = variants.filter(({ precision }) => precision === 'float32');
  const references = full.filter((variant) => full.find(({ format }) => format === variant.format) === variant);
  const pairs = references.map((reference) => ({
    reference,
    others: variants.filter(({ format, precision }) => format === reference.format && precision !== 'float32'),
  }));
  const used = pairs.filter(({ others }) => others.length > 0);
  return { pairs: used, total: used.reduce((sum, { others }) => sum + others.length, 0) };
}

/** What is wrong with an agreement, if anything is. */
function tooFew({ top1 }: Distance, minAgreement: number): string | undefined {
  if (top1 === null && minAgreement > 0) return 'no output has classes to agree on, so that the wanted agreement cannot be measured';
  if (top1 === null || top1 >= minAgreement) return undefined;
  return `it agrees on ${percent(top1)} of the best classes, wanted are ${percent(minAgreement)}`;
}

/**
 * Measures a pruned model beside the one it was made from: their answers in float32, and what each variant takes compressed.
 * @returns Undefined when nothing was pruned.
 * @throws {NearfarError} `self-test-failed` when they agree on too few best classes.
 */
export async function measurePruning(built: BuiltVersion, options: MeasureOptions): Promise<PruningMeasure | undefined> {
  const manifest = built.manifest('1');
  const decider = manifest.variants.find(({ id }) => id === built.decider);
  const source = built.sources.get(built.decider);
  if (!decider || !source?.pruning || !source.unpruned) return undefined;
  await using engine = await openFirst(checkBackends[decider.format], options);
  await using own = await load(engine, manifest, decider, built, options.signal);
  await using right = await engine.load(
    { manifest, variant: decider, readFile: (path) => readUnpruned(built, decider, source, path) },
    { signal: options.signal },
  );
  const onExample = (index: number, count: number) => options.onProgress?.(`${decider.id} before and after pruning`, index, count);
  const { outside: _, ...distance } = await compare(manifest, decider, own, right, built, { ...options, onExample, isGolden: false });
  const message = tooFew(distance, options.minAgreement);
  if (message) throw new NearfarError('self-test-failed', `the pruned model is not published: ${message}`, { details: { ...distance } });
  const { weights, elements, zeros } = source.pruning;
  const sparsity = elements === 0 ? 0 : zeros / elements;
  const variants: PruningMeasure['variants'][number][] = [];
  for (const [id, { files, unpruned, isHidden }] of built.sources) {
    if (isHidden || !unpruned) continue;
    const compressedBytes = { before: await compressedSize(unpruned), after: await compressedSize(files) };
    variants.push({ variant: id, sparsity, compressedBytes, isSmaller: compressedBytes.after < compressedBytes.before });
  }
  return { backend: engine.backend as BackendId, ...distance, weights, elements, zeros, sparsity, variants }; // engines here are local
}

/** A file of the variant as it would be without pruning; the variant's folder is in the manifest's paths. */
function readUnpruned(built: BuiltVersion, variant: Variant, { unpruned, entry }: Source, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const folder = variant.entry.slice(0, -entry.length);
  const file = variant.files.includes(path) ? unpruned?.get(path.slice(folder.length)) : undefined;
  return file ? collect(file) : readBuilt(built, path);
}

async function compressedSize(files: ReadonlyMap<string, SourceFile>): Promise<number> {
  let size = 0;
  for (const { read } of files.values()) {
    const gzip = createGzip();
    const counting = (async () => {
      for await (const part of gzip) size += (part as Uint8Array).byteLength; // a stream of bytes
    })();
    for await (const part of read()) {
      if (!gzip.write(part)) await new Promise((resolve) => gzip.once('drain', resolve));
    }
    gzip.end();
    await counting;
  }
  return size;
}

async function openFirst(backends: readonly BackendId[], { openEngine, signal }: MeasureOptions): Promise<Engine> {
  const failures: string[] = [];
  for (const backend of backends) {
    try {
      return await openEngine(backend, { signal });
    } catch (error) {
      if (!(error instanceof NearfarError) || signal?.aborted) throw error;
      failures.push(`${backend}: ${error.message}`);
    }
  }
  throw new NearfarError('device-unfit', `no backend of this machine can measure variants; ${failures.join('; ')}`);
}

function load(engine: Engine, manifest: Manifest, variant: Variant, built: BuiltVersion, signal: AbortSignal | undefined) {
  return engine.load({ manifest, variant, readFile: (path) => readBuilt(built, path) }, { signal });
}

interface CompareOptions extends MeasureOptions {
  /** Whether the golden outputs are right for this variant. */
  readonly isGolden: boolean;
  readonly onExample: (index: number, count: number) => void;
}

async function compare(
  manifest: Manifest,
  variant: Variant,
  own: LoadedVariant,
  right: LoadedVariant,
  built: BuiltVersion,
  { samples, signal, isGolden, onExample }: CompareOptions,
): Promise<Distance & { outside: string | undefined }> {
  const golden = await Promise.all(
    manifest.golden.map(async (example) => ({
      signature: example.signature,
      inputs: decodeSafetensors(await readBuilt(built, example.inputs)),
      expected: isGolden ? decodeSafetensors(await readBuilt(built, example.outputs)) : undefined,
    })),
  );
  const examples = [...golden, ...samples.map((sample) => ({ ...sample, expected: undefined }))];
  let absolute = 0;
  let relative = 0;
  const rows = { same: 0, all: 0 };
  let outside: string | undefined;
  for (const [index, { signature, inputs, expected }] of examples.entries()) {
    signal?.throwIfAborted();
    onExample(index, examples.length);
    const got = await own.run({ signature, inputs }, { signal });
    const want = await right.run({ signature, inputs }, { signal });
    const distance = compareOutputs(want, got, variant.tolerance);
    absolute = Math.max(absolute, distance.absolute);
    relative = Math.max(relative, distance.relative);
    countBestClasses(rows, want, got, scoresOf(manifest, signature));
    const agreement = expected && compareOutputs(expected, got, variant.tolerance);
    if (agreement && !agreement.isWithin) outside ??= `golden example ${index} is outside the tolerance: ${agreement.firstDifference}`;
  }
  return { examples: examples.length, absolute, relative, top1: rows.all === 0 ? null : rows.same / rows.all, outside };
}

function sizeOf(manifest: Manifest, { files }: Variant): number {
  return files.reduce((sum, path) => sum + (manifest.files[path]?.bytes ?? 0), 0);
}

/** The output of the task, else every float output with more than one value per row. */
function scoresOf({ tasks, signatures }: Manifest, signature: string): readonly string[] {
  const task = tasks?.['image-classification'];
  if (task?.signature === signature) return [task.output.name];
  const outputs = Object.entries(signatures[signature]?.outputs ?? {});
  return outputs.filter(([, { dtype, shape }]) => dtype === 'float32' && shape.length === 2 && shape[1] !== 1).map(([name]) => name);
}

function countBestClasses(rows: { same: number; all: number }, want: TensorMap, got: TensorMap, names: readonly string[]): void {
  for (const name of names) {
    const [right, own] = [want[name], got[name]];
    const classes = right?.shape.at(-1) ?? 0;
    if (right?.dtype !== 'float32' || own?.dtype !== 'float32' || classes < 2) continue;
    for (let start = 0; start < right.data.length; start += classes) {
      const best = (data: Float32Array) =>
        data.subarray(start, start + classes).reduce((max, value, at, row) => (value > row[max]! ? at : max), 0);
      rows.all += 1;
      if (best(right.data) === best(own.data)) rows.same += 1;
    }
  }
}

/** A file of a version that is not published yet, as a whole. */
export async function readBuilt({ files }: BuiltVersion, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = files.get(path);
  if (file) return collect(file);
  throw new NearfarError('not-found', `the version has no file ${path}`, { details: { path } });
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
