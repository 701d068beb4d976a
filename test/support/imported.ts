import { expect } from 'vitest';
import {
  type AnyTensor,
  type BackendId,
  bytesPerElement,
  createData,
  type DType,
  dataFromBytes,
  type Engine,
  elementCount,
  float16ToNumber,
  type LoadedVariant,
  type Manifest,
  type TensorMap,
} from '../../src/core/index.ts';
import { buildVersion } from '../../src/publish/build.ts';
import { openLocalEngines } from '../../src/publish/publish.ts';
import { type ReadSources, readSources, type WriteOptions } from '../../src/publish/read-source.ts';

// Model files through the reading of `publish` and its build, in memory, and run on our engines: all of the way but the checks and the disk.

/** A tensor as the recorded calls have it: flat data, strings as base64, 64-bit integers as decimal strings. */
export interface RecordedTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: readonly (number | string | boolean)[];
}

/** A model that was read and written as variants. */
export interface ImportedModel extends AsyncDisposable {
  readonly manifest: Manifest;
  readonly skipped: ReadSources['skipped'];
  readonly unusable: ReadSources['unusable'];
  /** The backends of this machine that have a variant to run: tfjs always, ONNX Runtime where the graph became ONNX. */
  readonly backends: readonly BackendId[];
  /** @param variant Id; the first of the backend's format when absent. */
  run(backend: BackendId, signature: string, inputs: TensorMap, variant?: string): Promise<TensorMap>;
}

const backendsOf = { tfjs: ['tfjs-cpu', 'tfjs-wasm'], onnx: ['onnx-cpu', 'onnx-wasm'] } as const satisfies Record<string, BackendId[]>;

export async function openImported(
  paths: readonly string[],
  options: WriteOptions & { readonly goldenInputs?: readonly TensorMap[] | undefined } = {},
): Promise<ImportedModel> {
  const openEngine = await openLocalEngines();
  const { sources, skipped, unusable } = await readSources(paths, options);
  const built = await buildVersion(sources, { name: 'imported', goldenInputs: options.goldenInputs }, openEngine);
  const manifest = built.manifest('1');
  const engines = new Map<BackendId, Promise<Engine>>();
  const loaded = new Map<string, Promise<LoadedVariant>>();
  const open = async (backend: BackendId, id: string | undefined): Promise<LoadedVariant> => {
    const variant = manifest.variants.find((each) => (id === undefined ? each.format.startsWith(backend.slice(0, 4)) : each.id === id));
    if (!variant) throw new Error(`no variant ${id ?? ''} for ${backend}`);
    const engine = engines.get(backend) ?? openEngine(backend, {});
    engines.set(backend, engine);
    const readFile = async (path: string) => built.files.get(path)!.bytes.slice();
    return (await engine).load({ manifest, variant, readFile });
  };
  return {
    manifest,
    skipped,
    unusable,
    backends: (['tfjs', 'onnx'] as const).flatMap((family) =>
      manifest.variants.some(({ format }) => format.startsWith(family)) ? backendsOf[family] : [],
    ),
    async run(backend, signature, inputs, variant) {
      const key = `${backend} ${variant ?? ''}`;
      const model = loaded.get(key) ?? open(backend, variant);
      loaded.set(key, model);
      return (await model).run({ signature, inputs });
    },
    async [Symbol.asyncDispose]() {
      for (const model of await Promise.allSettled(loaded.values())) {
        if (model.status === 'fulfilled') await model.value[Symbol.asyncDispose]();
      }
      for (const engine of await Promise.allSettled(engines.values())) {
        if (engine.status === 'fulfilled') await engine.value[Symbol.asyncDispose]();
      }
    },
  };
}

/** Recorded values as a tensor that an engine takes. */
export function toTensor({ dtype, shape, data }: RecordedTensor): AnyTensor {
  const sizes = [...shape];
  if (dtype === 'string') {
    return { dtype, shape: sizes, data: data.map((value) => new Uint8Array(Buffer.from(String(value), 'base64'))) };
  }
  const values = createData(dtype as Exclude<DType, 'string'>, elementCount(sizes)); // fixtures name dtypes of ours
  if (values instanceof BigInt64Array || values instanceof BigUint64Array) {
    for (const [index, value] of data.entries()) values[index] = BigInt(value as string);
  } else for (const [index, value] of data.entries()) values[index] = Number(value);
  const bytes = new Uint8Array(values.buffer);
  if (bytes.byteLength !== elementCount(sizes) * bytesPerElement(dtype as DType & string & Exclude<DType, 'string'>))
    throw new Error(dtype);
  return { dtype, shape: sizes, data: dataFromBytes(dtype as Exclude<DType, 'string'>, bytes) } as AnyTensor;
}

/** The values as the recordings have them. */
export function valuesOf({ dtype, data }: AnyTensor): (number | string)[] {
  switch (dtype) {
    case 'string':
      return data.map((bytes) => Buffer.from(bytes).toString('base64'));
    case 'int64':
    case 'uint64':
      return Array.from(data as Iterable<bigint>, String);
    case 'float16':
      return Array.from(data, float16ToNumber);
    case 'bfloat16':
      return Array.from(data, (bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!);
    default:
      return Array.from(data as Iterable<number>);
  }
}

const inexact: readonly string[] = ['float16', 'bfloat16', 'float32', 'float64', 'complex64', 'complex128'];

/**
 * Fails unless dtype, shape and values are those recorded: whole numbers, booleans and strings the very same, others within
 * `parts` of the largest.
 */
export function expectRecorded(got: AnyTensor | undefined, want: RecordedTensor, what: string, parts = 1e-5): void {
  expect({ dtype: got?.dtype, shape: got?.shape }, what).toEqual({ dtype: want.dtype, shape: want.shape });
  if (!got) return;
  const values = valuesOf(got);
  if (!inexact.includes(want.dtype)) {
    expect(values.map(String), what).toEqual(want.data.map((value) => String(typeof value === 'boolean' ? Number(value) : value)));
    return;
  }
  expect(largestPart(values.map(Number), want.data.map(Number)), what).toBeLessThanOrEqual(parts);
}

/** The largest difference, in parts of the largest value. */
export function largestPart(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let difference = 0;
  let largest = 1e-30;
  for (let index = 0; index < want.length; index++) {
    const [own, right] = [got[index]!, want[index]!];
    if (Object.is(own, right) || own === right) continue;
    const distance = Math.abs(own - right);
    difference = Number.isNaN(distance) ? Number.POSITIVE_INFINITY : Math.max(difference, distance);
  }
  for (let index = 0; index < want.length; index++) if (Number.isFinite(want[index]!)) largest = Math.max(largest, Math.abs(want[index]!));
  return difference / largest;
}
