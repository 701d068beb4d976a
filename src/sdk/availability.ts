import {
  type AvailabilityState,
  type BackendId,
  type DeviceProfile,
  judgeAvailability,
  type Leg,
  NearfarError,
  placeModel,
  type Reason,
  type SkippedBackend,
} from '../core/index.ts';
import type { EventHub } from './events.ts';
import { canUseServer, type ModelRequest, type OpenContext, openServerLeg, type SettledVersion, settleVersion } from './open-model.ts';
import { findDeferral } from './surroundings.ts';

/** How soon a model can answer, in the platform's words, and why it is not simply `available`. */
export interface Availability {
  readonly state: AvailabilityState;
  readonly reason: Reason | undefined;
  readonly details: {
    readonly version: string | undefined;
    readonly digest: string | undefined;
    /** Legs that could be used, preferred first. */
    readonly legs: readonly Leg[];
    /** Backends the device would try, in order, and those it would not, with why. */
    readonly backends: readonly BackendId[];
    readonly skipped: readonly SkippedBackend[];
    readonly cachedBytes: number | undefined;
    /** Bytes of the files that this device needs, from the manifest. */
    readonly totalBytes: number | undefined;
    /** What the device probe found; absent in mode `only-server`, where the device is not asked. */
    readonly profile: DeviceProfile | undefined;
  };
}

const noDevice: DeviceProfile = { probeMs: 0 };

/** Judges how soon a model can answer; fetches no byte of the model itself. A version that cannot be settled is `unavailable`. */
export async function findAvailability(
  context: OpenContext,
  request: ModelRequest,
  { hub, signal, isDownloading }: { hub: EventHub; signal: AbortSignal; isDownloading: boolean },
): Promise<Availability> {
  const { options } = context;
  const { mode, backends } = request;
  try {
    const isDeviceAsked = mode !== 'only-server';
    const [profile, version] = await Promise.all([
      isDeviceAsked ? context.profile(signal) : noDevice,
      settleVersion(context, request, hub, signal),
    ]);
    const policy = { mode, hasServer: canUseServer(options, mode), backends, allowSoftwareAdapter: options.allowSoftwareAdapter };
    const placement = placeModel(version.manifest.variants, profile, policy);
    const { cachedBytes = 0, totalBytes = bytesOf(version) } = version;
    const server = policy.hasServer ? await askServer(context, request.name, version, hub, signal) : noServer;
    const deferral = policy.hasServer && options.downloadOn !== 'any' ? await findDeferral() : undefined;
    const judged = judgeAvailability({ placement, policy, profile, cachedBytes, totalBytes, isDownloading, server, deferral });
    const { legs, skipped } = placement;
    const details = { ...version.pin, legs, backends: placement.backends, skipped, cachedBytes, totalBytes };
    return { state: judged.state, reason: judged.reason, details: { ...details, profile: isDeviceAsked ? profile : undefined } };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof NearfarError)) throw error;
    return { state: 'unavailable', reason: reasonOf(error), details: unknownDetails };
  }
}

const noServer: Reason = { code: 'unavailable', message: 'no server is configured' };

const unknownDetails = {
  version: undefined,
  digest: undefined,
  legs: [],
  backends: [],
  skipped: [],
  cachedBytes: undefined,
  totalBytes: undefined,
  profile: undefined,
};

function bytesOf({ manifest }: SettledVersion): number {
  const [variant] = manifest.variants;
  return (variant?.files ?? []).reduce((sum, file) => sum + (manifest.files[file]?.bytes ?? 0), 0);
}

async function askServer(
  context: OpenContext,
  name: string,
  version: SettledVersion,
  hub: EventHub,
  signal: AbortSignal,
): Promise<'ready' | Reason> {
  try {
    await openServerLeg(context, { name, ...version }, hub).assertReady(signal);
    return 'ready';
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof NearfarError) return reasonOf(error);
    throw error;
  }
}

function reasonOf({ code, message }: NearfarError): Reason {
  return { code, message };
}
