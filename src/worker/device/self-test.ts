import {
  type BackendId,
  type LoadedVariant,
  type Manifest,
  NearfarError,
  type NearfarErrorCode,
  type VariantSource,
} from '../../core/index.ts';
import type { ChunkStore, VerdictKey } from '../store/index.ts';
import type { DeviceProbe } from './probe.ts';
import { warmUp } from './warm-up.ts';

/** Of this package; a test holds it equal to package.json, which a worker cannot read. */
export const nearfarVersion = '0.1.0';

/** What says that the numbers of a backend are wrong, and would be wrong again. */
const lastingFailures: ReadonlySet<NearfarErrorCode> = new Set(['self-test-failed', 'dtype-mismatch', 'shape-mismatch']);

export interface SelfTestContext {
  readonly store: ChunkStore;
  readonly probe: DeviceProbe;
  /** Name and version of the browser. */
  readonly browser: () => Promise<string>;
}

/** The golden examples of one variant on one backend of this device. */
export interface SelfTest {
  /** Whether they were right before on this adapter, browser and nearfar. */
  readonly isKnown: boolean;
  /**
   * Runs them, unless that is known, and keeps the verdict; a GPU, whose shaders are still to be made, is warmed up in any case.
   * @throws {NearfarError} `self-test-failed`; what running throws.
   */
  run(loaded: LoadedVariant, source: VariantSource, signal: AbortSignal): Promise<void>;
}

/** What a verdict is about: one variant on one backend of this device, as exact as it is known. */
export async function verdictKey(
  { probe, browser }: Pick<SelfTestContext, 'probe' | 'browser'>,
  { digest, variant, backend }: { digest: string; variant: string; backend: BackendId },
): Promise<VerdictKey> {
  const { vendor, architecture, description } = (backend.endsWith('-webgpu') && (await probe.adapter())) || {};
  const device = JSON.stringify([vendor, architecture, description, await browser(), nearfarVersion]);
  return { digest, variant, backend, device };
}

/**
 * Looks for the verdict of an earlier visit.
 * @throws {NearfarError} The remembered failure.
 */
export async function openSelfTest(
  { store, probe, browser }: SelfTestContext,
  { digest, manifest, variant, backend }: { digest: string; manifest: Manifest; variant: string; backend: BackendId },
): Promise<SelfTest> {
  const isGpu = backend.endsWith('-webgpu');
  if (manifest.golden.length === 0) return { isKnown: false, run: (loaded, _, signal) => warmUp(loaded, manifest, signal) };
  const key = await verdictKey({ probe, browser }, { digest, variant, backend });
  const verdict = await store.readVerdict(key).catch(() => undefined);
  if (verdict?.failure) {
    const { code, message } = verdict.failure;
    throw new NearfarError(code, `${message} (found on an earlier visit)`, { details: { variant, backend } });
  }
  // A verdict that cannot be kept is found again by the next visit.
  const keep = (failure?: { code: NearfarErrorCode; message: string }) =>
    void store.writeVerdict({ ...key, failure }).catch(() => undefined);
  return {
    isKnown: verdict !== undefined,
    async run(loaded, source, signal) {
      if (verdict) return isGpu ? warmUp(loaded, manifest, signal) : undefined;
      try {
        const { checkGolden } = await import('./run-golden.ts');
        await checkGolden(loaded, source, { signal });
        keep();
      } catch (error) {
        if (error instanceof NearfarError && lastingFailures.has(error.code)) keep({ code: error.code, message: error.message });
        throw error;
      }
    },
  };
}
