import { expect } from 'vitest';
import type { AnyTensor, BackendId, Engine, LoadedVariant, Manifest, TensorMap } from '../../src/core/index.ts';
import { buildVersion } from '../../src/publish/build.ts';
import { openLocalEngines } from '../../src/publish/publish.ts';
import { type ReadSources, readSources, type WriteOptions } from '../../src/publish/read-source.ts';
import { collect } from '../../src/publish/source-file.ts';
import { type CaseTensor, valuesOfTensor } from './saved-model-cases.ts';

// Model files through the reading of `publish` and its build, in memory, and run on our engines: all of the way but the checks and the disk.

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
  const built = await buildVersion({ sources }, { name: 'imported', goldenInputs: options.goldenInputs }, openEngine);
  const manifest = built.manifest('1');
  const engines = new Map<BackendId, Promise<Engine>>();
  const loaded = new Map<string, Promise<LoadedVariant>>();
  const open = async (backend: BackendId, id: string | undefined): Promise<LoadedVariant> => {
    const variant = manifest.variants.find((each) => (id === undefined ? each.format.startsWith(backend.slice(0, 4)) : each.id === id));
    if (!variant) throw new Error(`no variant ${id ?? ''} for ${backend}`);
    const engine = engines.get(backend) ?? openEngine(backend, {});
    engines.set(backend, engine);
    const readFile = async (path: string) => collect(built.files.get(path)!);
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

const inexact: readonly string[] = ['float16', 'bfloat16', 'float32', 'float64', 'complex64', 'complex128'];

/**
 * Fails unless dtype, shape and values are those recorded: whole numbers, booleans and strings the very same, others within
 * `parts` of the largest.
 */
export function expectRecorded(got: AnyTensor | undefined, want: CaseTensor, what: string, parts = 1e-5): void {
  expect({ dtype: got?.dtype, shape: got?.shape }, what).toEqual({ dtype: want.dtype, shape: want.shape });
  if (!got) return;
  const values = valuesOfTensor(got);
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
