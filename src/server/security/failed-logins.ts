import { NearfarError } from '../../core/index.ts';

/** Wrong credentials that one client may send at once, and after how long one more, in milliseconds. */
const burst = 20;
const refillMs = 3000;

/** Clients that are remembered; beyond, those that have been quiet for longest are forgotten. */
const mostClients = 10_000;

interface Tries {
  left: number;
  at: number;
}

/** Bounds how often one client may be wrong: the checks cost time, and each is told in the log. */
export class FailedLogins {
  readonly #now: () => number;
  readonly #tries = new Map<string, Tries>();

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Checks that a client may be wrong once more.
   * @throws {NearfarError} `rate-limited`.
   */
  assertMayTry(client: string): void {
    const { left } = this.#of(client);
    if (left >= 1) return;
    throw new NearfarError('rate-limited', 'too many wrong credentials came from this address', {
      details: { retryAfterMs: Math.ceil((1 - left) * refillMs) },
    });
  }

  record(client: string): void {
    const tries = this.#of(client);
    tries.left = Math.max(0, tries.left - 1);
    this.#tries.delete(client);
    this.#tries.set(client, tries);
    if (this.#tries.size > mostClients) this.#forgetOldest();
  }

  #forgetOldest(): void {
    const { value } = this.#tries.keys().next();
    if (value !== undefined) this.#tries.delete(value);
  }

  #of(client: string): Tries {
    const now = this.#now();
    const known = this.#tries.get(client) ?? { left: burst, at: now };
    known.left = Math.min(burst, known.left + (now - known.at) / refillMs);
    known.at = now;
    return known;
  }
}
