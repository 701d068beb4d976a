import { isIPv6 } from 'node:net';
import { NearfarError } from '../core/index.ts';

export interface AdmissionOptions {
  /** Requests taken and not yet answered, of all clients. */
  readonly maxInFlight: number;
  /** Of one client; Infinity for no limit. */
  readonly maxInFlightPerClient: number;
  /** Requests a second of one client, on average; a second's worth may come at once. Infinity for no limit. */
  readonly rateLimitPerClient: number;
  readonly metrics: AdmissionMetrics;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: (() => number) | undefined;
  /** Milliseconds since 1970. */
  readonly date?: (() => number) | undefined;
}

/** What one client may have, where that is not what all have. */
export interface ClientLimits {
  /** Predictions a second. */
  readonly rateLimit?: number | undefined;
  /** Predictions a day, in UTC, on this server since it started. */
  readonly dailyQuota?: number | undefined;
}

export interface AdmissionMetrics {
  setInFlight(requests: number): void;
  recordRefusal(reason: Refusal): void;
}

export type Refusal = 'max-in-flight' | 'fair-share' | 'client-in-flight' | 'client-rate' | 'client-quota' | 'draining';

interface Client {
  inFlight: number;
  /** Requests it may send at once, as of `filledAt`. */
  tokens: number;
  filledAt: number;
}

/**
 * A client may hold this many times what is still free: alone it gets 8/9 of the places, of two greedy ones each gets 8/17, and
 * whoever comes next finds a place at once.
 */
const shareOfFree = 8;

/** Clients with nothing in flight are forgotten when there are more. */
const mostIdleClients = 10_000;

const overloadedRetryMs = 1000;

const dayMs = 86_400_000;

/**
 * Decides at once whether a request is taken: nothing waits here, so no queue grows. `overloaded` is the server's state,
 * `rate-limited` the client's own doing.
 * @remarks The fair share is the dynamic threshold of Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
 * switches" (1998): it needs no list of who is active, and follows as clients come and go.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #now: () => number;
  readonly #date: () => number;
  readonly #clients = new Map<string, Client>();
  /** Predictions of this day, of clients that have a quota. */
  readonly #used = new Map<string, number>();
  #day = 0;
  #inFlight = 0;
  #isDraining = false;
  #onIdle: (() => void)[] = [];

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#date = options.date ?? Date.now;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Resolves when everything that was taken is answered. */
  async whenIdle(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }

  /** Takes no more. */
  startDraining(): void {
    this.#isDraining = true;
  }

  /**
   * Takes a request; dispose what it returns when the request is answered.
   * @throws {NearfarError} `overloaded`, `rate-limited`, `unavailable` (draining), each with `details.retryAfterMs`.
   */
  enter(name: string, limits: ClientLimits = {}): Disposable {
    const { maxInFlight, maxInFlightPerClient } = this.#options;
    const rateLimit = limits.rateLimit ?? this.#options.rateLimitPerClient;
    if (this.#isDraining) throw this.#refusal('draining', 'unavailable', 'the server is shutting down', overloadedRetryMs);
    const client = this.#clientOf(name, rateLimit);
    if (client.inFlight >= maxInFlightPerClient) {
      const text = `${client.inFlight} requests of this client are in flight already, it may have ${maxInFlightPerClient}`;
      throw this.#refusal('client-in-flight', 'rate-limited', text, overloadedRetryMs, { limit: maxInFlightPerClient });
    }
    if (client.tokens < 1) {
      const text = `this client may send ${rateLimit} requests a second`;
      const retryAfterMs = ((1 - client.tokens) * 1000) / rateLimit;
      throw this.#refusal('client-rate', 'rate-limited', text, retryAfterMs, { limit: rateLimit });
    }
    const free = maxInFlight - this.#inFlight;
    if (free <= 0) {
      const text = `${this.#inFlight} requests are in flight already`;
      throw this.#refusal('max-in-flight', 'overloaded', text, overloadedRetryMs, { limit: maxInFlight });
    }
    if (client.inFlight >= shareOfFree * free) {
      const text = `${this.#inFlight} requests are in flight already, ${client.inFlight} of them this client's: what is free is for others`;
      throw this.#refusal('fair-share', 'overloaded', text, overloadedRetryMs, { limit: maxInFlight });
    }
    if (limits.dailyQuota !== undefined) this.#takeOfQuota(name, limits.dailyQuota);
    client.tokens--;
    client.inFlight++;
    this.#inFlight++;
    this.#options.metrics.setInFlight(this.#inFlight);
    let hasLeft = false;
    return {
      [Symbol.dispose]: () => {
        if (hasLeft) return;
        hasLeft = true;
        client.inFlight--;
        this.#inFlight--;
        this.#options.metrics.setInFlight(this.#inFlight);
        if (this.#inFlight === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
        if (client.inFlight === 0 && rateLimit === Number.POSITIVE_INFINITY) this.#clients.delete(name);
      },
    };
  }

  #takeOfQuota(name: string, dailyQuota: number): void {
    const now = this.#date();
    const day = Math.floor(now / dayMs);
    if (day !== this.#day) this.#used.clear();
    this.#day = day;
    const used = this.#used.get(name) ?? 0;
    if (used >= dailyQuota) {
      const text = `this client may send ${dailyQuota} requests a day, the next begins at midnight UTC`;
      throw this.#refusal('client-quota', 'rate-limited', text, (day + 1) * dayMs - now, { limit: dailyQuota });
    }
    this.#used.set(name, used + 1);
  }

  /** With the tokens that it has now. */
  #clientOf(name: string, rateLimit: number): Client {
    const burst = Math.max(1, rateLimit);
    const isLimited = burst !== Number.POSITIVE_INFINITY;
    const now = isLimited ? this.#now() : 0;
    const known = this.#clients.get(name);
    if (!known) {
      const client = { inFlight: 0, tokens: burst, filledAt: now };
      if (this.#clients.size >= mostIdleClients) this.#forgetIdle();
      this.#clients.set(name, client);
      return client;
    }
    if (isLimited) {
      known.tokens = Math.min(burst, known.tokens + ((now - known.filledAt) / 1000) * rateLimit);
      known.filledAt = now;
    }
    return known;
  }

  #forgetIdle(): void {
    for (const [name, { inFlight }] of this.#clients) if (inFlight === 0) this.#clients.delete(name);
  }

  #refusal(
    reason: Refusal,
    code: 'overloaded' | 'rate-limited' | 'unavailable',
    text: string,
    retryAfterMs: number,
    details: { limit?: number } = {},
  ): NearfarError {
    this.#options.metrics.recordRefusal(reason);
    return new NearfarError(code, text, { details: { ...details, retryAfterMs: Math.ceil(retryAfterMs) } });
  }
}

/** Who sends a request: one client over REST and gRPC. Of an IPv6 address it is the /64, which a single host may have whole. */
export function clientOfAddress(address: string): string {
  if (lastClient.address !== address) {
    const host = address.replace(/^::ffff:(?=\d+\.)/i, '');
    lastClient = { address, client: isIPv6(host) ? prefixOf(host) : host };
  }
  return lastClient.client;
}

/** A client mostly sends many requests. */
let lastClient = { address: '', client: '' };

function prefixOf(host: string): string {
  const [start = [], end = []] = host.split('::').map((part) => part.split(':').filter((group) => group !== ''));
  const groups = [...start, ...Array<string>(Math.max(0, 8 - start.length - end.length)).fill('0'), ...end];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
