import {
  type BackendId,
  checkGolden,
  type Engine,
  type LoadedVariant,
  type Manifest,
  NearfarError,
  type NearfarErrorCode,
  serializeError,
  unfitReason,
  type Variant,
} from '../../core/index.ts';
import type { LoadAnswer, LoadCall, SkippedEngine } from './engine-protocol.ts';
import { withJoinedSignatures } from './joined-signatures.ts';
import { createVerifiedFiles } from './verified-files.ts';
import { type FailedWarmup, failedWarmupOf, readWarmupRecords, type WarmupStats, warmUp } from './warm-up.ts';

/** A version that reproduced its golden examples on the backend it is loaded on. */
export interface LoadedVersion {
  readonly engine: Engine;
  readonly loaded: LoadedVariant;
  readonly answer: LoadAnswer;
}

/** Another backend cannot help: the files are not those of the manifest, or nobody waits any more. */
const final: ReadonlySet<NearfarErrorCode> = new Set(['integrity-mismatch', 'not-found', 'cancelled']);

/**
 * Loads a version on the first backend that has a variant for it, takes it, and reproduces the golden examples; then checks the
 * files that this did not read.
 * @throws {NearfarError} what the only backend tried said, or one error that tells of all; rejects with `signal.reason` when aborted.
 */
export async function loadVersion(
  { manifest: described, directory, backends, variants, warmup: warmupCall }: LoadCall,
  openBackend: (backend: BackendId) => Promise<Engine>,
  signal: AbortSignal,
): Promise<LoadedVersion> {
  const manifest = withJoinedSignatures(described);
  const files = createVerifiedFiles(manifest, directory);
  const records = warmupCall ? await readWarmupRecords(warmupCall.path) : [];
  const skipped: SkippedEngine[] = [];
  let failedWarmup: FailedWarmup | undefined;
  for (const { backend, variant } of candidatesOf(manifest, backends, variants)) {
    signal.throwIfAborted();
    try {
      const engine = await openBackend(backend);
      const source = { manifest, variant, readFile: files.read };
      const loaded = await engine.load(source, { signal });
      let warmup: WarmupStats | undefined;
      try {
        await checkGolden(loaded, source, { signal });
        await files.verifyRest(signal);
        warmup = warmupCall && (await warmUp(loaded, manifest, { ...warmupCall, records }, signal));
      } catch (error) {
        await loaded[Symbol.asyncDispose]();
        throw error;
      }
      return { engine, loaded, answer: { backend, variant: variant.id, device: engine.device, skipped, warmup } };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const { code, message, details = {} } = serializeError(error);
      if (final.has(code)) throw error;
      failedWarmup = failedWarmupOf({ details }) ?? failedWarmup;
      const missing = details['missingPackage'];
      skipped.push({ backend, code, message, missingPackage: typeof missing === 'string' ? missing : undefined });
    }
  }
  const { code, message } = unfitReason(skipped);
  throw new NearfarError(code, `${manifest.name} version ${manifest.version} cannot be loaded: ${message}`, {
    details: { skipped, ...(failedWarmup && { warmup: failedWarmup }) },
  });
}

/** Every variant under every backend that reads its format, in the order of the backends, then as they are preferred, then of the manifest. */
function candidatesOf(
  { variants }: Manifest,
  backends: readonly BackendId[],
  preferred: readonly string[] = [],
): readonly { backend: BackendId; variant: Variant }[] {
  const rank = ({ id }: Variant) => (preferred.includes(id) ? preferred.indexOf(id) : preferred.length);
  const ordered = [...variants].sort((a, b) => rank(a) - rank(b));
  return backends.flatMap((backend) =>
    ordered
      .filter(({ format, requires }) => {
        const suits = backend.startsWith(format === 'onnx' ? 'onnx-' : 'tfjs-');
        // What a variant requires are features of a GPU; one that is missing there shows when the variant is loaded.
        return suits && (requires.length === 0 || backend.endsWith('-webgpu'));
      })
      .map((variant) => ({ backend, variant })),
  );
}
