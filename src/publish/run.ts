import {
  type BackendId,
  type Engine,
  type Manifest,
  NearfarError,
  type SignatureBindings,
  type TensorMap,
  toOwnInputs,
  type Variant,
} from '../core/index.ts';
import type { Source, SourceTensor } from './source.ts';
import { collect } from './source-file.ts';

/** Opens an engine on one backend; the caller closes it. */
export type OpenEngine = (backend: BackendId, options: { signal?: AbortSignal | undefined }) => Promise<Engine>;

/**
 * Where the right answers come from. Both backends give the same bits on every machine: TensorFlow.js on the CPU is plain
 * JavaScript, ONNX Runtime's CPU provider as WebAssembly has one fixed instruction set (its native builds choose kernels by processor).
 */
export const referenceBackends = { 'tfjs-graph': 'tfjs-cpu', onnx: 'onnx-wasm' } as const satisfies Record<Source['format'], BackendId>;

/** Where a new version is tried out before it is published, per format. */
export const checkBackends = {
  'tfjs-graph': ['tfjs-wasm', 'tfjs-cpu'],
  'tfjs-layers': [],
  onnx: ['onnx-cpu', 'onnx-wasm'],
} as const satisfies Record<Variant['format'], readonly BackendId[]>;

/** Runs a source as it is, by the names of its own tensors. */
export interface RawModel extends AsyncDisposable {
  /** @param bindings Only the inputs are used, to turn the signature's inputs into the source's own. */
  run(signature: string, inputs: TensorMap, bindings: Pick<SignatureBindings, 'inputs'>): Promise<TensorMap>;
}

/** Loads a source on the reference backend of its format. */
export async function openRawModel(
  source: Source,
  openEngine: OpenEngine,
  options: { signal?: AbortSignal | undefined },
): Promise<RawModel> {
  const engine = await openEngine(referenceBackends[source.format], options);
  try {
    const manifest = rawManifest(source);
    const [variant] = manifest.variants;
    if (!variant) throw new NearfarError('internal', 'a raw manifest has one variant');
    const loaded = await engine.load({ manifest, variant, readFile: (path) => readSourceFile(source, path) }, options);
    return {
      run: async (signature, inputs, bindings) => {
        try {
          return await loaded.run({ signature, inputs: toOwnInputs({ ...bindings, outputs: [] }, inputs) }, options);
        } catch (error) {
          throw ofSource(source, error);
        }
      },
      [Symbol.asyncDispose]: async () => {
        await loaded[Symbol.asyncDispose]();
        await engine[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await engine[Symbol.asyncDispose]();
    throw ofSource(source, error);
  }
}

/** What an engine's library trips over without saying what it is: here the model is to blame, which nobody has run before. */
function ofSource({ origin }: Source, error: unknown): unknown {
  if (!(error instanceof NearfarError) || error.code !== 'internal') return error;
  return new NearfarError('invalid-argument', `the ${origin} model cannot be run: ${error.message}`, {
    cause: error,
    details: error.details,
  });
}

async function readSourceFile(source: Source, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = source.files.get(path);
  if (!file) throw new NearfarError('not-found', `the source has no file ${path}`, { details: { path } });
  return collect(file);
}

/** A manifest whose signatures are the source's own tensors, so that an engine runs the source without any binding. */
function rawManifest(source: Source): Manifest {
  const own = (tensors: Readonly<Record<string, SourceTensor>>) =>
    Object.fromEntries(Object.values(tensors).map(({ tensor, dtype, shape }) => [tensor, { dtype, shape: [...(shape ?? [])] }]));
  return {
    schemaVersion: 1,
    name: 'source',
    version: '1',
    signatures: Object.fromEntries(
      Object.entries(source.signatures).map(([name, { method, inputs, outputs }]) => [
        name,
        { method, inputs: own(inputs), outputs: own(outputs) },
      ]),
    ),
    variants: [
      {
        id: source.format,
        format: source.format,
        precision: source.precision,
        entry: source.entry,
        files: [...source.files.keys()],
        requires: [],
        tolerance: { absolute: 0, relative: 0 },
      },
    ],
    files: {},
    golden: [],
  };
}
