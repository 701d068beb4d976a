import type { Constant } from '../graph/index.ts';

/**
 * Constants made of others while one model is optimised. What is derived twice in the same way from the same constants is one constant,
 * so that copies of a layer in several signatures go on sharing their weights.
 */
export class DerivedConstants {
  readonly #numbers: Map<Constant, number> = new Map<Constant, number>();
  readonly #made: Map<string, Constant> = new Map<string, Constant>();
  readonly #derived: Set<Constant> = new Set<Constant>();
  readonly #contents: Map<Constant, string> = new Map<Constant, string>();

  /** A name for a constant, as part of a key. */
  identify(constant: Constant): string {
    const number = this.#numbers.get(constant) ?? this.#numbers.size;
    this.#numbers.set(constant, number);
    return `#${number}`;
  }

  /** @param key Says all that the constant depends on. */
  derive(key: string, make: () => Constant): Constant {
    const constant = this.#made.get(key) ?? make();
    this.#made.set(key, constant);
    this.#derived.add(constant);
    return constant;
  }

  /** Whether it is computed when it is read, maybe from large weights: then nothing should read it only to decide something. */
  isDerived(constant: Constant): boolean {
    return this.#derived.has(constant);
  }

  /** The same text for small constants of the same dtype, shape and bytes; for large ones, for the same constant. */
  async contentOf(constant: Constant, smallBytes: number): Promise<string> {
    const known = this.#contents.get(constant);
    if (known !== undefined) return known;
    const content = constant.byteLength > smallBytes || this.isDerived(constant) ? this.identify(constant) : await readContent(constant);
    this.#contents.set(constant, content);
    return content;
  }
}

async function readContent(constant: Constant): Promise<string> {
  const { dtype, shape, data } = await constant.load();
  const text = (bytes: Uint8Array): string => {
    let result = '';
    for (let i = 0; i < bytes.length; i += 4096) result += String.fromCharCode(...bytes.subarray(i, i + 4096));
    return result;
  };
  const items = dtype === 'string' ? data.map(text) : [text(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))];
  return JSON.stringify([dtype, shape, items]);
}
