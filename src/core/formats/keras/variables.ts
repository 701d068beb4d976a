import { createTensor, elementCount, float16ToNumber, isTensorOf } from '../../tensor/index.ts';
import type { Constant } from '../graph/index.ts';
import { damaged, unsupported } from './problems.ts';

/** The weights of one layer by path and name (`kernel`, `cell/kernel`). */
export class Variables {
  readonly #constants: ReadonlyMap<string, Constant>;
  readonly #prefix: string;
  readonly #where: string;
  readonly #texts: ReadonlyMap<string, string>;

  constructor(constants: ReadonlyMap<string, Constant>, where: string, texts: ReadonlyMap<string, string> = new Map(), prefix = '') {
    this.#constants = constants;
    this.#texts = texts;
    this.#where = where;
    this.#prefix = prefix;
  }

  /** A float32 weight of this rank. */
  get(name: string, rank: number): Constant {
    const found = this.optional(name);
    if (!found) throw damaged(`${this.#where} has no weight ${this.#prefix}${name}`);
    if (found.shape.length !== rank)
      throw damaged(`weight ${name} of ${this.#where} has the shape [${found.shape}], expected rank ${rank}`);
    return found;
  }

  optional(name: string): Constant | undefined {
    return this.#constants.get(`${this.#prefix}${name}`);
  }

  /** A file that the layer keeps beside its weights. */
  text(name: string): string | undefined {
    return this.#texts.get(`${this.#prefix}${name}`);
  }

  inside(path: string): Variables {
    return new Variables(this.#constants, this.#where, this.#texts, `${this.#prefix}${path}/`);
  }
}

/** The same weight as float32, converted when it is read. */
export function asFloat32(constant: Constant): Constant {
  const { dtype, shape } = constant;
  if (dtype === 'float32') return constant;
  if (dtype !== 'float16' && dtype !== 'float64' && dtype !== 'bfloat16') throw unsupported(`a weight of ${dtype}, expected floats`);
  return derive(constant, 'float32', shape, (data) => {
    const read: Record<string, (value: number) => number> = { float16: float16ToNumber, bfloat16: bfloat16ToNumber };
    const convert = read[dtype];
    return convert ? Float32Array.from(data, convert) : Float32Array.from(data);
  });
}

/** The same elements in another shape. */
export function reshaped(constant: Constant, shape: readonly number[]): Constant {
  if (elementCount(shape) !== elementCount(constant.shape)) throw damaged(`a weight of shape [${constant.shape}], expected [${shape}]`);
  return derive(constant, `reshape ${shape}`, shape, (data) => Float32Array.from(data));
}

/** A part of one axis. */
export function sliced(constant: Constant, axis: number, start: number, end: number): Constant {
  const { shape } = constant;
  const size = shape[axis] ?? 0;
  if (end > size) throw damaged(`a weight of shape [${shape}] has no part ${start} to ${end} of axis ${axis}`);
  const inner = elementCount(shape.slice(axis + 1));
  const outer = elementCount(shape.slice(0, axis));
  return derive(constant, `slice ${axis} ${start} ${end}`, shape.with(axis, end - start), (data) => {
    const part = new Float32Array(outer * (end - start) * inner);
    for (let index = 0; index < outer; index++) {
      const from = (index * size + start) * inner;
      for (let at = 0; at < (end - start) * inner; at++) part[index * (end - start) * inner + at] = data[from + at]!;
    }
    return part;
  });
}

/** Constants made of others, so that a layer called several times makes each once. */
const derived = new WeakMap<Constant, Map<string, Constant>>();

function derive(
  constant: Constant,
  key: string,
  shape: readonly number[],
  change: (data: ArrayLike<number>) => Float32Array<ArrayBuffer>,
): Constant {
  const known = derived.get(constant)?.get(key);
  if (known) return known;
  const byteLength = elementCount(shape) * 4;
  const made: Constant = {
    dtype: 'float32',
    shape,
    byteLength,
    load: async () => {
      const tensor = await constant.load();
      if (tensor.dtype === 'string' || isTensorOf(tensor, 'int64') || isTensorOf(tensor, 'uint64'))
        throw damaged(`a weight of ${tensor.dtype}`);
      return createTensor('float32', shape, change(tensor.data));
    },
  };
  const siblings = derived.get(constant) ?? new Map<string, Constant>();
  derived.set(constant, siblings.set(key, made));
  return made;
}

function bfloat16ToNumber(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
}
