import { type BackendId, checkGolden, type Engine, NearfarError, parseManifest, type VariantSource } from '../../../dist/core/index.js';
import { openBrowserPlatform } from '../../../dist/engines/browser/index.js';
import { openEngine } from '../../../dist/engines/index.js';

export interface EngineReport {
  readonly backend: string;
  readonly device: Engine['device'];
  readonly largestDifference: number;
  readonly isDistinct: boolean;
  readonly memoryLeft: ReturnType<Engine['memory']>;
  /** What became of a run whose device was destroyed, and of the engine opened after it; absent without a device. */
  readonly loss?: { readonly code: string; readonly reason: string; readonly reopenedDifference: number };
}

const SIGNATURE = 'serving_default';

async function openSource(backend: BackendId): Promise<VariantSource> {
  const readFile = async (path: string) => new Uint8Array(await (await fetch(`/models/everyday10/1/${path}`)).arrayBuffer());
  const manifest = parseManifest(await readFile('manifest.json'));
  const variant = manifest.variants.find(({ format }) => format.startsWith(backend.slice(0, 4)));
  if (variant === undefined) throw new Error(`no variant for ${backend}`);
  return { manifest, variant, readFile };
}

function grey(value: number) {
  return { image: { dtype: 'float32', shape: [1, 32, 32, 3], data: new Float32Array(3072).fill(value) } } as const;
}

/** Opens a backend on this thread, holds the built-in model to its golden examples, loses the device and opens it again. */
async function tryEngine(backend: BackendId): Promise<EngineReport> {
  const platform = openBrowserPlatform({ allowSoftwareAdapter: true });
  const source = await openSource(backend);
  const engine = await openEngine(backend, platform);
  const before = engine.memory();
  const loaded = await engine.load(source);
  const { absolute } = await checkGolden(loaded, source);
  const runs = await Promise.all([0.1, 0.5, 0.9].map((value) => loaded.run({ signature: SIGNATURE, inputs: grey(value) })));
  const answers = runs.map(({ probabilities }) => String(probabilities?.data));
  const lost = engine.loseDevice && {
    ...(await loseUnder(engine, () => loaded.run({ signature: SIGNATURE, inputs: grey(0.5) }))),
    reopenedDifference: await goldenDifference(backend, source),
  };
  await loaded[Symbol.asyncDispose]();
  const after = engine.memory();
  await engine[Symbol.asyncDispose]();
  return {
    backend: engine.backend,
    device: engine.device,
    largestDifference: absolute,
    isDistinct: new Set(answers).size === 3,
    memoryLeft: { tensors: after.tensors - before.tensors, bytes: after.bytes - before.bytes, variants: after.variants },
    ...(lost && { loss: lost }),
  };
}

async function loseUnder(engine: Engine, run: () => Promise<unknown>): Promise<{ code: string; reason: string }> {
  const running = run();
  engine.loseDevice?.();
  const code = await running.then(
    () => 'answered',
    (error: unknown) => (error instanceof NearfarError ? error.code : String(error)),
  );
  return { code, reason: await engine.lost };
}

async function goldenDifference(backend: BackendId, source: VariantSource): Promise<number> {
  const engine = await openEngine(backend, openBrowserPlatform({ allowSoftwareAdapter: true }));
  const loaded = await engine.load(source);
  const { absolute } = await checkGolden(loaded, source);
  await engine[Symbol.asyncDispose]();
  return absolute;
}

/** The code of the error that opening a backend ends with. */
async function refusal(backend: BackendId): Promise<string> {
  const error = await openEngine(backend, openBrowserPlatform({ allowSoftwareAdapter: false })).then(
    () => 'opened',
    (error: unknown) => error,
  );
  return error instanceof NearfarError ? `${error.code}: ${error.message}` : String(error);
}

declare global {
  interface Window {
    tryEngine: typeof tryEngine;
    refusal: typeof refusal;
  }
}

window.tryEngine = tryEngine;
window.refusal = refusal;
document.documentElement.dataset['ready'] = 'true';
