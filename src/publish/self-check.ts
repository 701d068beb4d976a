import { type Agreement, type BackendId, checkGolden, type Manifest, NearfarError, serializeError, type Variant } from '../core/index.ts';
import { checkBackends, type OpenEngine } from './run.ts';

/** Backends in the order to try them, by the format they run. */
export type BackendsByFormat = Readonly<Record<Variant['format'], readonly BackendId[]>>;

/** All that Node may have; which of them this machine has, their engines say. */
export const allBackends: BackendsByFormat = {
  'tfjs-graph': [...checkBackends['tfjs-graph'], 'tfjs-webgpu'],
  'tfjs-layers': [],
  onnx: [...checkBackends.onnx, 'onnx-webgpu', 'onnx-cuda', 'onnx-tensorrt'],
};

/** How one variant did on one backend of this machine. */
export interface BackendCheck {
  readonly variant: string;
  readonly backend: BackendId;
  readonly device: string;
  /** Largest differences to the golden outputs; absent when the backend is not there. */
  readonly agreement?: Agreement;
  readonly durationMs?: number;
  /** Why it was not tried: the backend is not installed, or has not all operators. */
  readonly skipped?: { readonly code: string; readonly message: string };
}

/** What only says that this machine cannot try it, not that the version is wrong. */
const skippable = new Set(['unsupported', 'device-unfit']);

export interface CheckOptions {
  readonly signal?: AbortSignal | undefined;
  /** @default those of the processor */
  readonly backends?: BackendsByFormat | undefined;
  /** A check that proves nothing new, and is left out where another backend runs the variant. */
  readonly isNeedless?: ((variant: Variant, backend: BackendId) => boolean) | undefined;
  /** Called before each check. */
  readonly onProgress?: ((what: string, done: number, total: number) => void) | undefined;
}

/**
 * Runs the golden examples of every variant on the backends of its format, all of them also when one fails.
 * @throws {NearfarError} `self-test-failed` when a backend gives another answer, or when no backend can run a variant; what else a backend
 * ends with. Of several failures all are told.
 */
export async function checkVariants(
  manifest: Manifest,
  readFile: (path: string) => Promise<Uint8Array<ArrayBuffer>>,
  openEngine: OpenEngine,
  options: CheckOptions = {},
): Promise<BackendCheck[]> {
  const checks: BackendCheck[] = [];
  const failures: Failure[] = [];
  for (const [index, variant] of manifest.variants.entries()) {
    const results: BackendCheck[] = [];
    const failedBefore = failures.length;
    for (const backend of (options.backends ?? checkBackends)[variant.format]) {
      options.signal?.throwIfAborted();
      if (options.isNeedless?.(variant, backend) && results.some(({ skipped }) => skipped === undefined)) continue;
      options.onProgress?.(`${variant.id} on ${backend}`, index, manifest.variants.length);
      try {
        results.push(await checkOn(backend, manifest, variant, readFile, openEngine, options));
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!(error instanceof NearfarError)) throw error;
        failures.push({ variant: variant.id, backend, error });
      }
    }
    if (failures.length === failedBefore && results.every(({ skipped }) => skipped !== undefined)) throw notRunnable(variant, results);
    checks.push(...results);
  }
  assertNone(failures);
  return checks;
}

interface Failure {
  readonly variant: string;
  readonly backend: BackendId;
  readonly error: NearfarError;
}

function assertNone(failures: readonly Failure[]): void {
  const [first, second] = failures;
  if (!first) return;
  if (!second) {
    const { error, backend } = first;
    throw new NearfarError(error.code, `on ${backend}: ${error.message}`, { cause: error, details: { ...error.details, backend } });
  }
  const told = failures.map(({ variant, backend, error }) => ({ variant, backend, code: error.code, message: error.message }));
  throw new NearfarError(
    'self-test-failed',
    told.map(({ variant, backend, message }) => `${variant} on ${backend}: ${message}`).join('; '),
    {
      cause: first.error,
      details: { failures: told },
    },
  );
}

async function checkOn(
  backend: BackendId,
  manifest: Manifest,
  variant: Variant,
  readFile: (path: string) => Promise<Uint8Array<ArrayBuffer>>,
  openEngine: OpenEngine,
  options: { signal?: AbortSignal | undefined },
): Promise<BackendCheck> {
  const began = performance.now();
  try {
    await using engine = await openEngine(backend, options);
    const source = { manifest, variant, readFile };
    await using loaded = await engine.load(source, options);
    const agreement = await checkGolden(loaded, source, options);
    const device = engine.device.description ?? engine.device.kind;
    return { variant: variant.id, backend, device, agreement, durationMs: Math.round(performance.now() - began) };
  } catch (error) {
    if (!(error instanceof NearfarError) || !skippable.has(error.code)) throw error;
    const { code, message } = serializeError(error);
    return { variant: variant.id, backend, device: 'none', skipped: { code, message } };
  }
}

function notRunnable(variant: Variant, results: readonly BackendCheck[]): NearfarError {
  const reasons = results.map(({ backend, skipped }) => `${backend}: ${skipped?.message}`);
  return new NearfarError(
    'self-test-failed',
    `variant ${variant.id} runs on no backend of this machine; ${reasons.join('; ') || 'none is known'}`,
    {
      details: { variant: variant.id, reasons },
    },
  );
}
