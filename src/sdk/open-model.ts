import {
  type BackendId,
  type DeviceProfile,
  type DeviceWorkerApi,
  type LockFile,
  type Manifest,
  type MediaWorkerApi,
  type Mode,
  NearfarError,
  type NearfarErrorCode,
  type OpenRequest,
  type Pin,
  placeModel,
  usesGpu,
  type VersionChoice,
} from '../core/index.ts';
import type { Channel } from './channel.ts';
import type { Clock } from './clock.ts';
import { readConditions } from './conditions.ts';
import { DeviceLeg } from './device-leg.ts';
import type { EventHub } from './events.ts';
import { joinErrors } from './failover.ts';
import { LiveModel, loadPredicting } from './live-model.ts';
import type { ResolvedOptions } from './options.ts';
import { ServerLeg } from './server-leg.ts';
import { settlingEvents } from './worker-events.ts';

/** What opening needs of its client. */
export interface OpenContext {
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  readonly device: Channel<DeviceWorkerApi>;
  readonly media: Channel<MediaWorkerApi>;
  readonly baseUrl: string | undefined;
  /** What the device probe found; found once per client. */
  readonly profile: (signal: AbortSignal) => Promise<DeviceProfile>;
}

export interface ModelRequest {
  readonly name: string;
  readonly mode: Mode;
  readonly choice: VersionChoice;
  readonly backends: readonly BackendId[];
}

/** A version settled on, with what a client would have to fetch of it; both unknown when the device was not asked. */
export interface SettledVersion {
  readonly pin: Pin;
  readonly manifest: Manifest;
  readonly labels?: readonly string[] | undefined;
  readonly cachedBytes?: number | undefined;
  readonly totalBytes?: number | undefined;
}

/** Facts about the version itself: asking over another way gives the same. */
const finalErrors: ReadonlySet<NearfarErrorCode> = new Set([
  'not-found',
  'version-mismatch',
  'invalid-argument',
  'integrity-mismatch',
  'signature-invalid',
  'unsupported',
]);

/** Opens a model: settles the version, starts the legs that the mode allows, waits until one of them can answer. */
export async function openModel(
  context: OpenContext,
  request: ModelRequest,
  hub: EventHub,
  signal: AbortSignal,
  onClose: () => void,
): Promise<LiveModel> {
  const { name, mode } = request;
  const { clock, media, baseUrl } = context;
  const loading = loadPredicting().catch(() => undefined);
  const { pin, manifest, labels } = await settleVersion(context, request, hub, signal, true);
  startMedia(context, manifest);
  hub.emit('version', { ...pin, reason: `version ${pin.version} was settled on` });
  let model: LiveModel | undefined;
  const device =
    mode === 'only-server' ? undefined : openDeviceLeg(context, request, { pin, manifest }, hub, (why) => model?.reconsider(why));
  const server = canUseServer(context.options, mode) ? openServerLeg(context, { name, pin, manifest }, hub) : undefined;
  try {
    await untilAnswerable(mode, device, server, signal);
  } catch (error) {
    await device?.close();
    throw error;
  }
  model = new LiveModel({
    name,
    mode,
    pin,
    manifest,
    labels,
    hub,
    clock,
    media,
    device,
    server,
    baseUrl,
    onClose,
    hedgeAfterMs: context.options.hedgeAfterMs,
    predicting: await loading,
  });
  return model;
}

/** Photos need the media worker: its script loads while the model opens. */
function startMedia({ media }: OpenContext, { tasks }: Manifest): void {
  if (!tasks?.['image-classification']) return;
  try {
    media.start();
  } catch {
    // The first call that needs it tries again, and tells.
  }
}

export function canUseServer({ servers }: ResolvedOptions, mode: Mode): boolean {
  return mode !== 'only-on-device' && servers.length > 0;
}

/**
 * Which version is meant. The device worker knows what is cached and needs no network for a locked one; the media
 * worker stands in when the device worker cannot answer, and goes first where the server is preferred.
 * @param isOpening Whether a model is being opened: class names are then worth a fetch, and engines a start.
 */
export async function settleVersion(
  context: OpenContext,
  request: ModelRequest,
  hub: EventHub,
  signal: AbortSignal,
  isOpening = false,
): Promise<SettledVersion> {
  const { name, mode, choice } = request;
  const { options, device, media } = context;
  const version = { name, choice, repositories: options.repositories, lock: options.lock, trust: options.trust };
  const planned = { ...openRequestOf(options, version), backends: request.backends, isOpening };
  const near = () => device.call((api, callId) => api.plan(callId, planned, settlingEvents(hub)), { signal });
  // Servers have the repository, too: they stand in where it is away.
  const repositories = version.repositories.concat(options.servers.map((url) => `${url}/models`));
  const far = () =>
    media.call((api, callId) => api.resolve(callId, { ...version, repositories, wantsLabels: isOpening }, settlingEvents(hub)), { signal });
  const ways: (() => Promise<SettledVersion>)[] = {
    'only-on-device': [near],
    'only-server': [far],
    'prefer-on-device': options.servers.length > 0 ? [near, far] : [near],
    'prefer-server': [far, near],
  }[mode];
  let first: unknown;
  for (const way of ways) {
    try {
      return await way();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof NearfarError && finalErrors.has(error.code)) throw error;
      first ??= error;
    }
  }
  throw first;
}

export function openRequestOf(
  { allowSoftwareAdapter, cacheBudgetBytes, memoryBudgetBytes }: ResolvedOptions,
  version: Omit<OpenRequest, 'backends' | 'allowSoftwareAdapter' | 'cacheBudgetBytes' | 'memoryBudgetBytes'>,
): Omit<OpenRequest, 'backends'> {
  return { ...version, allowSoftwareAdapter, cacheBudgetBytes, memoryBudgetBytes };
}

function openDeviceLeg(
  context: OpenContext,
  { name, mode, backends }: ModelRequest,
  { pin, manifest }: SettledVersion,
  hub: EventHub,
  onChange: (reason: string) => void,
): DeviceLeg {
  const { options, clock, device, profile } = context;
  const { allowSoftwareAdapter, openHangTimeoutMs } = options;
  const policy = { mode, hasServer: canUseServer(options, mode), backends, allowSoftwareAdapter };
  // From here on the version is fixed, and its signature checked: whatever is published meanwhile, both legs answer from this digest.
  const lock: LockFile = { lockfileVersion: 1, models: { [name]: { ...pin } } };
  const request = openRequestOf(options, { name, repositories: options.repositories, choice: { version: pin.version }, lock });
  return new DeviceLeg({
    channel: device,
    clock,
    hub,
    request,
    digest: pin.digest,
    order: backends,
    openHangTimeoutMs,
    conditions: () => readConditions(policy.hasServer, options.downloadOn !== 'any'),
    // Nothing but a GPU has to be looked at, and nobody waits for it where none is wanted.
    place: async (failures, signal) =>
      placeModel(manifest.variants, usesGpu(backends) ? await profile(signal) : { probeMs: 0 }, policy, failures),
    onChange,
  });
}

export function openServerLeg(
  { options, clock, media }: OpenContext,
  { name, pin, manifest }: Pick<SettledVersion, 'pin' | 'manifest'> & { readonly name: string },
  hub: EventHub,
): ServerLeg {
  const target = { servers: options.servers, policy: options.serverPolicy, name, pin, manifest };
  return new ServerLeg({ channel: media, clock, hub, target, timeoutMs: options.serverTimeoutMs });
}

/** Waits for the first leg that can answer; throws what the preferred leg said when none can. */
async function untilAnswerable(
  mode: Mode,
  device: DeviceLeg | undefined,
  server: ServerLeg | undefined,
  signal: AbortSignal,
): Promise<void> {
  const near = device?.ready(signal);
  const far = server?.assertReady(signal);
  const inOrder = mode === 'prefer-server' || mode === 'only-server' ? [far, near] : [near, far];
  const legs = inOrder.filter((leg) => leg !== undefined);
  try {
    await Promise.any(legs);
  } catch (error) {
    signal.throwIfAborted();
    const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
    throw (
      joinErrors(
        errors.filter((each) => each instanceof NearfarError).map((each) => ({ error: each })),
        0,
      ) ?? error
    );
  }
}
