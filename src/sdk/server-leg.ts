import type { Remote } from 'comlink';
import { type MediaWorkerApi, NearfarError, type ServerAnswer, type ServerTarget } from '../core/index.ts';
import type { Channel } from './channel.ts';
import type { Clock } from './clock.ts';
import type { EventHub } from './events.ts';
import { openLimit, withoutLimit } from './limit.ts';
import { emitWorkerEvent } from './worker-events.ts';

export interface ServerLegOptions {
  readonly channel: Channel<MediaWorkerApi>;
  readonly clock: Clock;
  readonly hub: EventHub;
  readonly target: ServerTarget;
  /** Limit of one answer where the call has no deadline. */
  readonly timeoutMs: number;
}

const otherVersion = () => import('./other-version.ts');

/** One version on the configured servers, reached through the media worker. */
export class ServerLeg {
  readonly #options: ServerLegOptions;
  /** Set to act as if the servers could not be reached. */
  isCut = false;

  constructor(options: ServerLegOptions) {
    this.#options = options;
  }

  /** @throws {NearfarError} `unavailable` when no server has exactly this version ready; `version-mismatch`; `network`. */
  async assertReady(signal: AbortSignal): Promise<void> {
    const { channel, target } = this.#options;
    this.#assertReachable();
    if (await channel.call((api, callId) => api.isReadyOnServer(callId, target), { signal })) return;
    throw new NearfarError('unavailable', `no server has ${target.name} version ${target.pin.version} (${target.pin.digest}) ready`, {
      details: { servers: [...target.servers] },
    });
  }

  /**
   * @throws {NearfarError} what the server answered; `version-mismatch` for an answer from another digest, which is
   * dropped; `deadline-exceeded`.
   */
  async run<T>(
    invoke: (api: Remote<MediaWorkerApi>, target: ServerTarget, callId: number, deadlineMs: number) => Promise<ServerAnswer<T>>,
    { signal, deadlineMs }: { signal: AbortSignal; deadlineMs: number | undefined },
  ): Promise<ServerAnswer<T>> {
    const { channel, clock, hub, target, timeoutMs } = this.#options;
    this.#assertReachable();
    // A server that never answers does not hold a call that named no deadline. No `using`: its lowered form is a tenth of a kilobyte.
    const limit =
      deadlineMs === undefined
        ? openLimit(clock, signal, timeoutMs, `the server gave no answer in ${timeoutMs} ms`, { timeoutMs })
        : withoutLimit(signal);
    const wholeMs = Math.max(1, Math.floor(deadlineMs ?? timeoutMs));
    try {
      const answer = await channel.call((api, callId) => invoke(api, target, callId, wholeMs), { signal: limit.signal });
      const { version, digest } = answer.pin;
      // The media worker refuses such answers itself: an application's own worker may be of another nearfar.
      if (digest !== target.pin.digest || version !== target.pin.version) throw (await otherVersion()).otherAnswer(target, answer.pin);
      for (const retry of answer.retries ?? []) emitWorkerEvent(hub, { type: 'retry', ...retry });
      return answer;
    } catch (error) {
      if (error instanceof NearfarError && error.code === 'version-mismatch') {
        const report = await otherVersion().catch(() => undefined);
        report?.reportOtherVersion(error, target.pin, hub);
      }
      throw error;
    } finally {
      limit[Symbol.dispose]();
    }
  }

  #assertReachable(): void {
    if (this.isCut) throw new NearfarError('network', 'the server leg was cut by the application');
  }
}
