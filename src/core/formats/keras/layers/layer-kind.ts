import type { GraphBuilder, Value } from '../builder.ts';
import type { Config } from '../config.ts';
import type { KerasLayer, KerasVersion } from '../model-config.ts';
import { damaged } from '../problems.ts';
import type { Variables } from '../variables.ts';

/** A weight of a layer, as the layer creates it. */
export interface Slot {
  /** Tracked children between the layer and the weight (`cell`, `forward_layer/cell`), '' for the layer's own. */
  readonly path: string;
  /** Number among the weights of that child, in order of creation; the name of one that Keras stores by name. */
  readonly index: number | string;
  readonly name: string;
  readonly trainable: boolean;
}

/** Keyword arguments of a call. */
export interface Keywords {
  tensors(name: string): readonly Value[];
  value(name: string): unknown;
}

/** What a call is given, in order: operations of `keras.ops` mix tensors with plain values. */
export type Operand =
  | { readonly kind: 'tensor'; readonly value: Value }
  | { readonly kind: 'list'; readonly items: readonly Operand[] }
  | { readonly kind: 'value'; readonly value: unknown };

/** One call of a layer. */
export interface Lowering {
  readonly builder: GraphBuilder;
  readonly layer: KerasLayer;
  readonly config: Config;
  readonly variables: Variables;
  /** All tensors of the positional arguments. */
  readonly inputs: readonly Value[];
  readonly operands: readonly Operand[];
  readonly keywords: Keywords;
  readonly version: KerasVersion;
  /** Calls an inner layer of a wrapper; its weights lie under `path`. */
  call(layer: KerasLayer, inputs: readonly Value[], variables: Variables): readonly Value[];
}

/** How one class of layers becomes nodes. */
export interface LayerKind {
  slots?(layer: KerasLayer, slotsOf: (inner: KerasLayer) => readonly Slot[]): readonly Slot[];
  lower(lowering: Lowering): Value | readonly Value[];
  /** Whether the mask of the input goes with the output. */
  readonly keepsMask?: boolean;
}

/** Own weights of a layer, in order of creation; a name that begins with `-` is not trainable. */
export function own(...names: readonly (string | false)[]): Slot[] {
  return under('', names);
}

export function under(path: string, names: readonly (string | false)[]): Slot[] {
  const present = names.filter((name) => name !== false);
  return present.map((name, index) => ({ path, index, name: name.replace(/^-/, ''), trainable: !name.startsWith('-') }));
}

/** Slots of an inner layer, moved under a child of the outer one. */
export function inside(path: string, slots: readonly Slot[]): Slot[] {
  return slots.map((slot) => ({ ...slot, path: slot.path === '' ? path : `${path}/${slot.path}` }));
}

/** The one input of a layer, as float32: Keras casts numbers to the dtype the layer computes in. */
export function one({ inputs, builder, config }: Lowering): Value {
  const x = any({ inputs, config });
  return x.dtype === 'string' ? x : { ...builder.cast(x, 'float32'), mask: x.mask };
}

/** The one input of a layer, of whatever dtype. */
export function any({ inputs, config }: Pick<Lowering, 'inputs' | 'config'>): Value {
  const [x] = inputs;
  if (x) return x;
  throw damaged(`${config.where} is called without an input`);
}
