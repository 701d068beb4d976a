/** Smaller buffers are cheap to make and to collect. */
const leastBytes = 64 * 2 ** 10;

/** Larger ones are rare, and would fill the pool alone. */
const mostBytes = 16 * 2 ** 20;

/** Of the buffers that wait here. */
const defaultLimitBytes = 64 * 2 ** 20;

/**
 * Memory for the tensors of requests, used again: it is lent for a request, moves to the engine's thread and comes back with the answer.
 * @remarks V8 counts the bytes of buffers and collects all garbage after so many of them. New memory for each request of 602 KB, some
 * 200 a second, meant about 14 full collections a second in this thread and as many in the engine's.
 */
export class BufferPool {
  readonly #limitBytes: number;
  /** The one that came back last is at the end: its pages are the likeliest to be cached. */
  readonly #free: ArrayBuffer[] = [];
  readonly #lent = new WeakSet<ArrayBufferLike>();
  #freeBytes = 0;

  constructor({ limitBytes = defaultLimitBytes }: { readonly limitBytes?: number } = {}) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes that wait to be lent again. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** A buffer of at least so many bytes, which hold anything. One that is never given back is collected as any other. */
  take(byteLength: number): ArrayBuffer {
    const index = this.#free.findLastIndex((buffer) => buffer.byteLength >= byteLength && buffer.byteLength <= 2 * byteLength);
    const [known] = index === -1 ? [] : this.#free.splice(index, 1);
    if (known) this.#freeBytes -= known.byteLength;
    const buffer = known ?? new ArrayBuffer(Math.ceil(byteLength / leastBytes) * leastBytes);
    this.#lent.add(buffer);
    return buffer;
  }

  /** A copy of bytes where the elements of any dtype may lie, in a lent buffer unless they are few. */
  adopt(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    const copy = this.allocate(bytes.length);
    copy.set(bytes);
    return copy;
  }

  /** So many bytes, which hold anything, where the elements of any dtype may lie: in a lent buffer unless they are few. */
  allocate(byteLength: number): Uint8Array<ArrayBuffer> {
    if (byteLength < leastBytes) return new Uint8Array(byteLength);
    return new Uint8Array(this.take(byteLength), 0, byteLength);
  }

  /** Whether it was lent to its user alone, who may thus move it to another thread whole. */
  isLent(buffer: ArrayBufferLike): boolean {
    return this.#lent.has(buffer);
  }

  /** Takes back a buffer that nobody uses any more; the oldest ones go when there are too many. */
  give(buffer: ArrayBuffer): void {
    if (buffer.byteLength < leastBytes || buffer.byteLength > mostBytes) return;
    this.#lent.delete(buffer);
    this.#free.push(buffer);
    this.#freeBytes += buffer.byteLength;
    while (this.#freeBytes > this.#limitBytes) this.#freeBytes -= this.#free.shift()?.byteLength ?? 0;
  }
}
