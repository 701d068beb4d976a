import { filesOfVariant, NearfarError, type OpenRequest, type PrefetchedVersion } from '../../core/index.ts';
import { type LoaderContext, loadFiles, type ResolvedVersion } from '../loader/index.ts';
import type { FitVariant } from './choose-variant.ts';

// A module of its own, loaded when an application manages its cache.
export { clearCache, pinVersion, reportCache, verifyCache } from '../store/index.ts';

/**
 * Downloads and verifies what this device would need to open a version.
 * @throws {NearfarError} `device-unfit` when it could not; `quota-exceeded` and `unavailable` when it cannot be kept.
 */
export async function prefetchVersion(
  context: LoaderContext,
  version: ResolvedVersion,
  fit: FitVariant | undefined,
  { repositories, cacheBudgetBytes }: OpenRequest,
): Promise<PrefetchedVersion> {
  const { pin, manifest } = version;
  if (!fit) throw new NearfarError('device-unfit', `${manifest.name} version ${pin.version} cannot run on this device`);
  using _held = await context.tabs.hold(pin.digest, context.signal);
  const files = filesOfVariant(manifest, fit.variant);
  const { cache } = await loadFiles(context, { version, files, repositories, cacheBudgetBytes, isAhead: true });
  const bytes = files.reduce((sum, file) => sum + (manifest.files[file]?.bytes ?? 0), 0);
  return { ...pin, backend: fit.backend, variant: fit.variant.id, bytes, cache };
}
