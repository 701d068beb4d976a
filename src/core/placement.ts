import type { BackendId, EngineDevice } from './engine/index.ts';
import type { NearfarErrorCode } from './errors.ts';
import type { Manifest, Variant } from './manifest/index.ts';

/** Where a call runs: in this browser or on the companion server. */
export type Leg = 'on-device' | 'server';

/** Which legs may answer, and which one is asked first. */
export type Mode = 'prefer-on-device' | 'only-on-device' | 'prefer-server' | 'only-server';

export const modes: readonly Mode[] = ['prefer-on-device', 'only-on-device', 'prefer-server', 'only-server'];

/** What the device probe found, before a model byte is fetched. */
export interface DeviceProfile {
  readonly adapter?: (EngineDevice & { readonly maxBufferBytes: number; readonly features: readonly string[] }) | undefined;
  /** True while the browser has not said yet whether there is an adapter: the probe does not wait for a GPU process that starts slowly. */
  readonly isAdapterPending?: boolean | undefined;
  readonly quotaBytes?: number | undefined;
  readonly usageBytes?: number | undefined;
  /** Duration of a short compute kernel, dispatch to readback; absent without an adapter, infinite after a wrong result. */
  readonly kernelMs?: number | undefined;
  readonly probeMs: number;
}

export interface PlacementPolicy {
  readonly mode: Mode;
  readonly hasServer: boolean;
  /** Explicit order of backends; the near default otherwise. */
  readonly backends?: readonly BackendId[] | undefined;
  readonly allowSoftwareAdapter: boolean;
}

/** A backend that failed on this device before. */
export interface PastFailure {
  readonly backend: BackendId;
  readonly code: NearfarErrorCode;
  readonly message: string;
}

/** Why something was not taken: a stable code and a sentence for people. */
export interface Reason {
  readonly code: NearfarErrorCode;
  readonly message: string;
}

export interface SkippedBackend extends Reason {
  readonly backend: BackendId;
}

export interface Placement {
  /** Legs the mode allows and the policy has, the one to ask first in front. */
  readonly legs: readonly Leg[];
  /** Backends to try on the device, in this order. */
  readonly backends: readonly BackendId[];
  /** Backends that come before or between those in the order, which the version has a variant for and this device cannot use. */
  readonly skipped: readonly SkippedBackend[];
}

/** Near by default: GPU before wasm, tfjs before ONNX Runtime (0.23 MB of code against 6.6 MB). */
export const nearBackends: readonly BackendId[] = ['tfjs-webgpu', 'onnx-webgpu', 'tfjs-wasm', 'onnx-wasm'];

const browserBackends: readonly BackendId[] = [...nearBackends, 'tfjs-cpu'];

/** A hardware adapter answers a trivial kernel in a few milliseconds; one that needs this long is software or unwell. */
const slowKernelMs = 100;

/** Drivers reset and memory runs short now and then; a backend that was lost more often than this on one page is given up. */
const toleratedLosses = 2;

/** Whether any of these backends runs on the GPU. */
export function usesGpu(backends: readonly BackendId[]): boolean {
  return backends.some((backend) => backend.endsWith('-webgpu'));
}

/** The legs a mode may use, preferred first. */
export function legsOf(mode: Mode): readonly [Leg, ...Leg[]] {
  switch (mode) {
    case 'prefer-on-device':
      return ['on-device', 'server'];
    case 'only-on-device':
      return ['on-device'];
    case 'prefer-server':
      return ['server', 'on-device'];
    case 'only-server':
      return ['server'];
  }
}

/**
 * Near or far, and on which backends: a pure function of what the version offers, what the device has, what the
 * application wants and what failed before.
 */
export function placeModel(
  variants: Manifest['variants'],
  profile: DeviceProfile,
  policy: PlacementPolicy,
  failures: readonly PastFailure[] = [],
): Placement {
  const backends: BackendId[] = [];
  const skipped: SkippedBackend[] = [];
  for (const backend of policy.backends ?? nearBackends) {
    const own = variants.filter(({ format }) => formatSuits(format, backend));
    if (own.length === 0) continue;
    const obstacle = pastObstacle(backend, failures) ?? deviceObstacle(backend, own, profile, policy);
    if (obstacle) skipped.push({ backend, ...obstacle });
    else backends.push(backend);
  }
  const legs = legsOf(policy.mode).filter((leg) => (leg === 'server' ? policy.hasServer : backends.length > 0));
  return { legs, backends, skipped };
}

function formatSuits(format: Variant['format'], backend: BackendId): boolean {
  return backend.startsWith(format === 'onnx' ? 'onnx-' : 'tfjs-');
}

function pastObstacle(backend: BackendId, failures: readonly PastFailure[]): Reason | undefined {
  const own = failures.filter((failure) => failure.backend === backend);
  const lasting = own.find(({ code }) => code === 'self-test-failed' || code === 'unsupported');
  if (lasting) return { code: lasting.code, message: lasting.message };
  const last = own.at(-1);
  if (!last || own.length <= toleratedLosses) return undefined;
  return { code: last.code, message: `${backend} was lost ${own.length} times: ${last.message}` };
}

function deviceObstacle(
  backend: BackendId,
  variants: readonly Variant[],
  { adapter, isAdapterPending, kernelMs = 0 }: DeviceProfile,
  { allowSoftwareAdapter }: PlacementPolicy,
): Reason | undefined {
  const unfit = (message: string): Reason => ({ code: 'device-unfit', message });
  if (!browserBackends.includes(backend)) return { code: 'unsupported', message: `${backend} does not run in a browser` };
  const needed = variants.map(({ requires }) => requires);
  if (!backend.endsWith('-webgpu')) {
    return needed.some((features) => features.length === 0) ? undefined : unfit(`every variant for ${backend} needs GPU features`);
  }
  // The engine asks for the adapter itself and says why it did not get a fit one.
  if (isAdapterPending) return undefined;
  if (!adapter) return unfit('this browser offers no WebGPU adapter');
  if (adapter.isFallbackAdapter && !allowSoftwareAdapter) return unfit('the only GPU adapter is a software adapter');
  if (kernelMs > slowKernelMs && !allowSoftwareAdapter) {
    const finding = kernelMs < Number.POSITIVE_INFINITY ? `needed ${Math.round(kernelMs)} ms for` : 'gave a wrong result of';
    return unfit(`the GPU adapter ${finding} a trivial kernel`);
  }
  const missing = needed.map((features) => features.filter((feature) => !adapter.features.includes(feature)));
  if (missing.some((features) => features.length === 0)) return undefined;
  return unfit(`the GPU adapter lacks ${missing[0]?.join(', ')}`);
}

/** The platform's words for how soon a model can answer. */
export type AvailabilityState = 'unavailable' | 'downloadable' | 'downloading' | 'available';

/** What is known about a version when its availability is judged. */
export interface AvailabilityFacts {
  readonly placement: Placement;
  readonly policy: PlacementPolicy;
  readonly profile: DeviceProfile;
  readonly cachedBytes: number;
  readonly totalBytes: number;
  readonly isDownloading: boolean;
  /** Why the download waits, where it does. */
  readonly deferral?: Reason | undefined;
  /** Whether a server has exactly this version ready; why not otherwise. */
  readonly server: 'ready' | Reason;
}

/**
 * How soon a model can answer, judged for the leg that the mode prefers; the other leg counts where the preferred one
 * cannot serve at all. The reason says why it is not simply `available` on the preferred leg.
 */
export function judgeAvailability(facts: AvailabilityFacts): { state: AvailabilityState; reason?: Reason | undefined } {
  const judged = legsOf(facts.policy.mode).map((leg) => (leg === 'server' ? judgeServer(facts) : judgeDevice(facts)));
  const [preferred, other] = judged;
  if (preferred && (preferred.state !== 'unavailable' || !other || other.state === 'unavailable')) return preferred;
  return { state: other?.state ?? 'unavailable', reason: preferred?.reason };
}

function judgeServer({ server, policy }: AvailabilityFacts): { state: AvailabilityState; reason?: Reason } {
  if (!policy.hasServer) return { state: 'unavailable', reason: { code: 'unavailable', message: 'no server is configured' } };
  return server === 'ready' ? { state: 'available' } : { state: 'unavailable', reason: server };
}

function judgeDevice(facts: AvailabilityFacts): { state: AvailabilityState; reason?: Reason | undefined } {
  const { placement, profile, cachedBytes, totalBytes } = facts;
  if (placement.backends.length === 0) return { state: 'unavailable', reason: unfitReason(placement.skipped) };
  if (facts.isDownloading) return { state: 'downloading' };
  if (cachedBytes >= totalBytes) return { state: 'available' };
  if (facts.deferral) return { state: 'downloadable', reason: facts.deferral };
  const freeBytes = (profile.quotaBytes ?? Number.POSITIVE_INFINITY) - (profile.usageBytes ?? 0);
  const neededBytes = totalBytes - cachedBytes;
  if (neededBytes <= freeBytes) return { state: 'downloadable' };
  const message = `${neededBytes} bytes are missing and ${freeBytes} may be stored: the model will be kept in memory only`;
  return { state: 'downloadable', reason: { code: 'quota-exceeded', message } };
}

/** Why no backend is left, in one reason. */
export function unfitReason(skipped: readonly SkippedBackend[]): Reason {
  if (skipped.length === 0) return { code: 'unsupported', message: 'the version has no variant for any backend asked for' };
  const codes = new Set(skipped.map(({ code }) => code));
  const [code = 'device-unfit'] = codes.size === 1 ? codes : [];
  return { code, message: skipped.map(({ backend, message }) => `${backend}: ${message}`).join('; ') };
}
