import { proxy, type Remote } from 'comlink';
import {
  type BackendId,
  type CacheOutcome,
  type DeviceWorkerApi,
  NearfarError,
  type NearfarErrorCode,
  type OpenConditions,
  type OpenedModel,
  type OpenRequest,
  type PastFailure,
  type Phase,
  type Placement,
  type Reason,
  type SkippedBackend,
  unfitReason,
  type WorkerEvent,
} from '../core/index.ts';
import type { Channel } from './channel.ts';
import type { Clock } from './clock.ts';
import type { EventHub } from './events.ts';
import { untilAborted } from './failover.ts';
import type { Fallback } from './run-report.ts';
import { emitWorkerEvent } from './worker-events.ts';

export interface DeviceLegOptions {
  readonly channel: Channel<DeviceWorkerApi>;
  readonly clock: Clock;
  readonly hub: EventHub;
  /** Names the exact version; the backends come from the placement. */
  readonly request: Omit<OpenRequest, 'backends'>;
  readonly digest: string;
  /** The order of backends that is wanted: one that comes before the one that runs was given up. */
  readonly order: readonly BackendId[];
  readonly openHangTimeoutMs: number;
  /** What the page knows of its surroundings at this moment. */
  readonly conditions: () => Promise<OpenConditions>;
  /** Which backends to try, given what failed on this device so far. */
  readonly place: (failures: readonly PastFailure[], signal: AbortSignal) => Promise<Placement>;
  /** Told when the device can answer, and when it no longer can. */
  readonly onChange: (reason: string) => void;
}

interface ReadyDevice {
  readonly opened: OpenedModel;
  /** Backends before the one that runs, with why they do not. */
  readonly skipped: readonly SkippedBackend[];
  /** Those of them that were not even tried. */
  readonly unfit: readonly SkippedBackend[];
}

type State =
  | { readonly name: 'opening'; readonly reason: Reason | undefined; readonly done: Promise<void> }
  | { readonly name: 'ready'; readonly device: ReadyDevice }
  | { readonly name: 'failed'; readonly error: NearfarError }
  | { readonly name: 'closed' };

/** What may be gone when it is tried again; the rest needs another device or another version. */
const passing: ReadonlySet<NearfarErrorCode> = new Set([
  'network',
  'unavailable',
  'overloaded',
  'rate-limited',
  'download-deferred',
  'device-lost',
  'out-of-memory',
]);

const phaseWords = {
  download: 'still downloading',
  verify: 'still being verified',
  compile: 'still compiling',
  'warm-up': 'still warming up',
  ready: 'getting ready',
} satisfies Record<Phase, string>;

/** Pauses before the first, second, … reopening after a failed one. */
const reopenDelaysMs = [1_000, 5_000, 30_000, 120_000];

/**
 * One version on this device: opened in the worker, opened again from the cache after its GPU or its worker was lost,
 * and in the background, with growing pauses, after an opening that failed for a passing reason.
 */
export class DeviceLeg {
  readonly #options: DeviceLegOptions;
  readonly #closing = new AbortController();
  /** Since the last answer: a backend that answers in between may be lost any number of times. */
  #failures: PastFailure[] = [];
  readonly #unlisten: () => void;
  #state: State = { name: 'closed' };
  #failedOpenings = 0;
  #forgetReopening: (() => void) | undefined;
  #phase: Phase | undefined;
  /** The backend that is being tried. */
  #tried: BackendId | undefined;
  #generation = 0;

  constructor(options: DeviceLegOptions) {
    this.#options = options;
    this.#unlisten = options.channel.onDeath((error) => this.#lose({ code: 'device-lost', message: error.message }));
    this.#open(undefined);
  }

  get opened(): OpenedModel | undefined {
    return this.#state.name === 'ready' ? this.#state.device.opened : undefined;
  }

  get obstacle(): Reason | undefined {
    const state = this.#state;
    if (state.name === 'ready') return undefined;
    if (state.name === 'closed') return closed();
    if (state.name === 'failed') return { code: state.error.code, message: state.error.message };
    const message = `the model is ${phaseWords[this.#phase ?? 'download']} on this device`;
    return state.reason ?? { code: 'unavailable', message };
  }

  /**
   * Resolves once the device can answer. After an opening that failed for a passing reason it tries at once.
   * @throws {NearfarError} why the device will not answer; rejects with `signal.reason` when aborted.
   */
  async ready(signal: AbortSignal): Promise<void> {
    if (this.#state.name === 'failed' && passing.has(this.#state.error.code)) this.#open(this.#state.error);
    if (this.#state.name === 'opening') await untilAborted(this.#state.done, signal);
    if (this.#state.name === 'failed') throw this.#state.error;
    if (this.#state.name === 'closed') throw closed();
  }

  /**
   * Runs a call on the opened model.
   * @throws {NearfarError} what the worker threw; `device-lost` also when the worker hung or crashed under the call.
   */
  async run<T extends object>(
    invoke: (api: Remote<DeviceWorkerApi>, handle: number, callId: number) => Promise<T>,
    signal: AbortSignal,
  ): Promise<{ answer: T; backend: BackendId; variant: string; cache: CacheOutcome; fallback: Fallback | undefined }> {
    if (this.#state.name !== 'ready') throw new NearfarError('unavailable', 'the model is not open on this device');
    const { opened, skipped } = this.#state.device;
    try {
      const answer = await this.#options.channel.call((api, callId) => invoke(api, opened.handle, callId), { signal });
      this.#failures = this.#failures.filter(({ backend }) => backend !== opened.backend);
      const [first] = skipped;
      const fallback = first && { from: first.backend, code: first.code, message: first.message };
      return { answer, backend: opened.backend, variant: opened.variant, cache: opened.cache, fallback };
    } catch (error) {
      if (!(error instanceof NearfarError)) throw error;
      this.#learn(error, opened);
      throw isWorkerDeath(error) ? new NearfarError('device-lost', error.message, { cause: error, details: error.details }) : error;
    }
  }

  /** Destroys the GPU device under the model. */
  async breakByLoss(): Promise<void> {
    const { opened } = this;
    if (opened) await this.#options.channel.call((api) => api.loseDevice(opened.handle));
  }

  /** Blocks the worker; nobody waits for the answer, but the watchdog does. */
  breakByHang(durationMs: number): void {
    this.#options.channel.call((api) => api.hang(durationMs)).catch(() => {});
  }

  /** Stops opening, gives the model's memory back and ends all that goes on in the background. Twice is harmless. */
  async close(): Promise<void> {
    const state = this.#state;
    if (state.name === 'closed') return;
    this.#state = { name: 'closed' };
    this.#unlisten();
    this.#forgetReopening?.();
    this.#closing.abort(closed());
    if (state.name === 'ready') await this.#release(state.device.opened);
  }

  #open(reason: Reason | undefined): void {
    this.#forgetReopening?.();
    const done = this.#openOnce().then(
      (device) => this.#becomeReady(device),
      (error: NearfarError) => this.#fail(error),
    );
    this.#state = { name: 'opening', reason, done };
  }

  async #openOnce(): Promise<ReadyDevice> {
    const { channel, request, place, conditions, digest, order, openHangTimeoutMs } = this.#options;
    const { signal } = this.#closing;
    this.#phase = undefined;
    this.#tried = undefined;
    const surrounding = conditions();
    const { backends, skipped } = await place(this.#failures, signal);
    if (backends.length === 0) {
      const { code, message } = unfitReason(skipped);
      throw new NearfarError(code, `${request.name} cannot run on this device: ${message}`, { details: { skipped } });
    }
    const surrounded = await surrounding;
    this.#generation += 1;
    const generation = this.#generation;
    const notify = proxy((event: WorkerEvent) => {
      if (generation === this.#generation) this.#report(event);
    });
    const open = async (api: Remote<DeviceWorkerApi>, callId: number) => {
      const opened = await api.open(callId, { ...request, ...surrounded, backends }, notify);
      // The worker was ready a moment before it heard of the abort: nobody else would give the model back.
      if (signal.aborted) void this.#release(opened);
      return opened;
    };
    const opened = await channel.call(open, { signal, hangTimeoutMs: openHangTimeoutMs });
    if (opened.pin.digest !== digest) {
      void this.#release(opened);
      throw new NearfarError('version-mismatch', `${request.name} is pinned to ${digest}, the device opened ${opened.pin.digest}`);
    }
    return { opened, skipped: givenUp([...skipped, ...opened.skipped], opened.backend, order), unfit: skipped };
  }

  #becomeReady({ opened, skipped, unfit }: ReadyDevice): void {
    if (this.#state.name === 'closed') {
      void this.#release(opened);
      return;
    }
    this.#state = { name: 'ready', device: { opened, skipped, unfit } };
    this.#failedOpenings = 0;
    for (const { backend, code, message } of skipped.filter((skip) => unfit.includes(skip))) {
      this.#options.hub.emit('fallback', { from: backend, to: opened.backend, code, message, reason: message });
    }
    this.#options.onChange(`the model is ready on this device (${opened.backend})`);
  }

  #fail(error: NearfarError): void {
    if (this.#state.name === 'closed') return;
    this.#state = { name: 'failed', error };
    if (!passing.has(error.code)) return;
    // A backend that takes its worker along while it compiles counts as one that is lost later: it must not be tried for ever.
    if (this.#tried && isWorkerDeath(error)) this.#failures.push({ backend: this.#tried, code: 'device-lost', message: error.message });
    const { clock, hub } = this.#options;
    const delayMs = reopenDelaysMs[Math.min(this.#failedOpenings, reopenDelaysMs.length - 1)] ?? 0;
    this.#failedOpenings += 1;
    const attempt = this.#failedOpenings + 1;
    this.#forgetReopening = clock.after(delayMs, () => {
      hub.emit('retry', { attempt, code: error.code, message: error.message, reason: `opening on this device failed: ${error.message}` });
      this.#open(error);
    });
  }

  /** What an error of a call says about the device: a lost or exhausted one is opened again, or the next backend. */
  #learn(error: NearfarError, opened: OpenedModel): void {
    if (this.opened === opened && (error.code === 'device-lost' || error.code === 'out-of-memory')) this.#lose(error);
  }

  #lose({ code, message }: Reason): void {
    const { opened } = this;
    if (!opened) return;
    const { hub } = this.#options;
    this.#failures.push({ backend: opened.backend, code, message });
    hub.emit('device-lost', { backend: opened.backend, message, reason: message });
    this.#open({ code, message: `the model is being opened again on this device: ${message}` });
    this.#options.onChange(message);
    void this.#release(opened);
  }

  async #release({ handle }: OpenedModel): Promise<void> {
    const { channel } = this.#options;
    if (!channel.isRunning) return;
    // A worker that is gone has given everything back already.
    await channel.call((api) => api.close(handle)).catch(() => {});
  }

  #report(event: WorkerEvent): void {
    switch (event.type) {
      case 'device-lost':
        this.#lose({ code: 'device-lost', message: event.message });
        break;
      case 'phase': {
        const { type, ...detail } = event;
        this.#phase = event.phase;
        this.#tried = event.backend;
        this.#options.hub.emit(type, { ...detail, reason: this.obstacle?.message ?? 'the model is open on this device' });
        break;
      }
      default:
        emitWorkerEvent(this.#options.hub, event);
    }
  }
}

/** The backends before the one that runs, in the wanted order: each was preferred and is not used. */
function givenUp(skipped: readonly SkippedBackend[], runs: BackendId, order: readonly BackendId[]): readonly SkippedBackend[] {
  const rank = ({ backend }: { backend: BackendId }) => order.indexOf(backend);
  return skipped.filter((skip) => rank(skip) < rank({ backend: runs })).sort((a, b) => rank(a) - rank(b));
}

/** What the channel says when the worker is gone, with the model it held. */
function isWorkerDeath({ code, details }: NearfarError): boolean {
  return code === 'unavailable' && details['worker'] === 'device';
}

function closed(): NearfarError {
  return new NearfarError('failed-precondition', 'the model is closed');
}
