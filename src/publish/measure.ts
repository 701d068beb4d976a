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

/** How a variant of less precision compares with the float32 one of its format, on one backend of this machine. */
export interface VariantMeasure {
  readonly variant: string;
  /** The float32 variant it is held against. */
  readonly reference: string;
  readonly backend: BackendId;
  /** Golden examples and samples. */
  readonly examples: number;
  /** Largest differences of any output. */
  readonly absolute: number;
  readonly relative: number;
  /** Share of rows whose largest value is in the same place; null where no output has classes. */
  readonly top1: number | null;
  readonly bytes: number;
  /** Of its bytes to the reference's. */
  readonly bytesRatio: number;
  /** Median of the paired ratios of its time to the reference's. */
  readonly timeRatio: number;
}

export interface MeasureOptions {
  readonly openEngine: OpenEngine;
  /** Inputs of a signature, beside the golden examples. */
  readonly samples: readonly { readonly signature: string; readonly inputs: TensorMap }[];
  /** Least share of rows with the same best class. */
  readonly minAgreement: number;
  readonly signal?: AbortSignal | undefined;
}

/** Pairs of runs whose times are compared. */
const ROUNDS = 7;

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
  for (const reference of manifest.variants) {
    if (reference.precision !== 'float32') continue;
    const others = manifest.variants.filter(({ id, format, precision }) => {
      const firstOfFormat = manifest.variants.find((each) => each.format === format && each.precision === 'float32');
      return format === reference.format && precision !== 'float32' && firstOfFormat === reference && id !== reference.id;
    });
    if (others.length === 0) continue;
    await using engine = await openFirst(checkBackends[reference.format], options);
    await using right = await load(engine, manifest, reference, built, options.signal);
    for (const variant of others) {
      try {
        await using own = await load(engine, manifest, variant, built, options.signal);
        const measure = await compare(manifest, variant, reference, engine.backend as BackendId, own, right, built, options); // engines here are local
        measures.push(measure);
        if (measure.top1 !== null && measure.top1 < options.minAgreement) {
          const message = `it agrees with ${reference.id} on ${percent(measure.top1)} of the best classes, wanted are ${percent(options.minAgreement)}`;
          rejected.push({ variant: variant.id, code: 'self-test-failed', message });
        }
      } catch (error) {
        if (!(error instanceof NearfarError) || options.signal?.aborted) throw error;
        const { code, message } = serializeError(error);
        rejected.push({ variant: variant.id, code, message });
      }
    }
  }
  return { measures, rejected };
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

async function compare(
  manifest: Manifest,
  variant: Variant,
  reference: Variant,
  backend: BackendId,
  own: LoadedVariant,
  right: LoadedVariant,
  built: BuiltVersion,
  { samples, signal }: MeasureOptions,
): Promise<VariantMeasure> {
  const golden = await Promise.all(
    manifest.golden.map(async (example) => ({
      signature: example.signature,
      inputs: decodeSafetensors(await readBuilt(built, example.inputs)),
      expected: decodeSafetensors(await readBuilt(built, example.outputs)),
    })),
  );
  const examples = [...golden, ...samples.map((sample) => ({ ...sample, expected: undefined }))];
  let absolute = 0;
  let relative = 0;
  const rows = { same: 0, all: 0 };
  for (const [index, { signature, inputs, expected }] of examples.entries()) {
    const got = await own.run({ signature, inputs }, { signal });
    const want = await right.run({ signature, inputs }, { signal });
    const distance = compareOutputs(want, got, variant.tolerance);
    absolute = Math.max(absolute, distance.absolute);
    relative = Math.max(relative, distance.relative);
    countBestClasses(rows, want, got, scoresOf(manifest, signature));
    const agreement = expected && compareOutputs(expected, got, variant.tolerance);
    if (agreement && !agreement.isWithin) {
      throw new NearfarError('self-test-failed', `golden example ${index} is outside the tolerance: ${agreement.firstDifference}`);
    }
  }
  const sizeOf = ({ files }: Variant) => files.reduce((sum, path) => sum + (manifest.files[path]?.bytes ?? 0), 0);
  const [first] = examples;
  return {
    variant: variant.id,
    reference: reference.id,
    backend,
    examples: examples.length,
    absolute,
    relative,
    top1: rows.all === 0 ? null : rows.same / rows.all,
    bytes: sizeOf(variant),
    bytesRatio: sizeOf(variant) / sizeOf(reference),
    timeRatio: first
      ? await timeRatio(
          () => own.run(first, { signal }),
          () => right.run(first, { signal }),
        )
      : Number.NaN,
  };
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

async function timeRatio(own: () => Promise<unknown>, right: () => Promise<unknown>): Promise<number> {
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    await own();
    const between = performance.now();
    await right();
    ratios.push((between - began) / (performance.now() - between));
  }
  return ratios.sort((a, b) => a - b)[ROUNDS >> 1]!;
}

async function readBuilt({ files }: BuiltVersion, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = files.get(path);
  if (file) return file.bytes;
  throw new NearfarError('not-found', `the version has no file ${path}`, { details: { path } });
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
