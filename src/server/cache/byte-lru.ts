export interface ByteLruOptions {
  /** Most bytes of all values; a value that is larger alone is not kept. */
  readonly budgetBytes: number;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: (() => number) | undefined;
  readonly onRemove?: ((reason: 'budget' | 'expired') => void) | undefined;
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

interface Entry<V> {
  readonly value: V;
  readonly bytes: number;
  readonly expiresAt: number;
}

/** What a key, an entry and its place in the map take beside the value, about. */
const entryBytes = 256;

/** Values by key within a budget of bytes: the one that was not asked for the longest goes first, and each after its time. */
export class ByteLru<V> {
  readonly #options: ByteLruOptions;
  readonly #now: () => number;
  /** In the order of their last use. */
  readonly #entries = new Map<string, Entry<V>>();
  #bytes = 0;

  constructor(options: ByteLruOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    if (entry.expiresAt <= this.#now()) {
      this.#remove(key, entry, 'expired');
      return undefined;
    }
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: V, { bytes: valueBytes, ttlMs }: { readonly bytes: number; readonly ttlMs: number }): void {
    const bytes = valueBytes + entryBytes;
    const known = this.#entries.get(key);
    if (known) this.#take(key, known);
    if (bytes <= this.#options.budgetBytes && ttlMs > 0) {
      this.#entries.set(key, { value, bytes, expiresAt: this.#now() + ttlMs });
      this.#bytes += bytes;
      for (const [oldest, entry] of this.#entries) {
        if (this.#bytes <= this.#options.budgetBytes) break;
        this.#remove(oldest, entry, 'budget');
      }
    }
    this.#options.onBytes?.(this.#bytes);
  }

  #remove(key: string, entry: Entry<V>, reason: 'budget' | 'expired'): void {
    this.#take(key, entry);
    this.#options.onRemove?.(reason);
    this.#options.onBytes?.(this.#bytes);
  }

  #take(key: string, { bytes }: Entry<V>): void {
    this.#entries.delete(key);
    this.#bytes -= bytes;
  }
}
