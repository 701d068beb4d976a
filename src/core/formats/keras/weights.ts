import type { Constant } from '../graph/index.ts';
import type { Hdf5Object } from './hdf5/index.ts';
import { layerKind, type Slot, snakeCase } from './layers/index.ts';
import type { KerasLayer, KerasModel } from './model-config.ts';
import { damaged, unsupported } from './problems.ts';
import { asFloat32, Variables } from './variables.ts';

/** Where the weights of a model lie. */
export interface WeightStore {
  /**
   * @param path The layer's place among the layers of the model as Keras 3 names it (`layers/dense_1`).
   * @returns By the slots' paths and names; a slot without a weight is left out.
   */
  weightsOf(layer: KerasLayer, path: string, slots: readonly Slot[]): Promise<ReadonlyMap<string, Constant>>;
  /** Files that layers keep beside their weights, by the layer's path and the file's name. */
  readonly texts?: ReadonlyMap<string, string>;
}

/** The weights of each layer of the outermost model; those of an inner model's layers lie with it. */
export async function bindWeights(model: KerasModel, store: WeightStore): Promise<ReadonlyMap<KerasLayer, Variables>> {
  const bound = new Map<KerasLayer, Variables>();
  for (const [layer, path] of placed(model)) {
    const slots = slotsOf(layer);
    const weights = slots.length === 0 ? new Map<string, Constant>() : await store.weightsOf(layer, path, slots);
    const inside = [...(store.texts ?? [])].filter(([name]) => name.startsWith(`${path}/`));
    bound.set(
      layer,
      new Variables(weights, layer.config.where, new Map(inside.map(([name, text]) => [name.slice(path.length + 1), text]))),
    );
  }
  return bound;
}

/** Layers with the names that Keras 3 stores them by: that of their class, numbered. */
export function placed(model: KerasModel): (readonly [KerasLayer, string])[] {
  const used = new Map<string, number>();
  return model.layers.map((layer) => {
    const name = snakeCase(layer.className.replace(/^.*[.>]/, ''));
    const count = used.get(name) ?? 0;
    used.set(name, count + 1);
    return [layer, `layers/${count === 0 ? name : `${name}_${count}`}`];
  });
}

/** All weights of a layer in order of creation. */
export function slotsOf(layer: KerasLayer): Slot[] {
  const nested = layer.model
    ? placed(layer.model).flatMap(([inner, path]) =>
        slotsOf(inner).map((slot) => ({ ...slot, path: slot.path === '' ? path : `${path}/${slot.path}` })),
      )
    : (layerKind(layer.className)?.slots?.(layer, slotsOf) ?? []);
  return nested.map((slot) => ({ ...slot, trainable: slot.trainable && layer.trainable }));
}

/** The name by which a layer asks for a weight. */
function keyOf({ path, name }: Slot): string {
  return path === '' ? name : `${path}/${name}`;
}

/**
 * `model.weights.h5` of a `.keras` archive: one group for each layer, its weights numbered.
 * @param texts Its vocabularies.
 */
export function archiveStore(root: Hdf5Object, texts: ReadonlyMap<string, string>): WeightStore {
  return {
    texts,
    weightsOf: async (layer, place, slots) => {
      const weights = new Map<string, Constant>();
      // Keras 2.13 named the outermost group otherwise.
      const group = (await root.find(place)) ?? (await root.find(place.replace('layers', '_layer_checkpoint_dependencies')));
      if (!group) return weights;
      const name = await (await group.find('vars'))?.attribute('name');
      if (name?.kind === 'text' && name.value[0] !== layer.name)
        throw damaged(`${place} holds the weights of ${name.value[0]}, expected ${layer.name}`);
      for (const slot of slots) {
        const parts = slot.path === '' ? [] : [slot.path, slot.path.replaceAll(/(^|\/)_/g, '$1')];
        const found = await firstFound(
          group,
          parts.length === 0 ? [`vars/${slot.index}`] : parts.map((part) => `${part}/vars/${slot.index}`),
        );
        if (found) weights.set(keyOf(slot), await hdf5Constant(found, layer));
      }
      return weights;
    },
  };
}

async function firstFound(group: Hdf5Object, paths: readonly string[]): Promise<Hdf5Object | undefined> {
  for (const path of paths) {
    const found = await group.find(path);
    if (found) return found;
  }
  return undefined;
}

/** `model_weights` of a whole model in one `.h5` file: layers by name, each with the names of its weights in order. */
export function hdf5Store(group: Hdf5Object): WeightStore {
  return {
    weightsOf: async (layer, _, slots) => {
      const own = await group.find(layer.name);
      const names = own ? await textsOf(own, 'weight_names') : [];
      const found = await Promise.all(
        names.map(async (name) => {
          const object = await own?.find(name);
          if (!object) throw damaged(`weight ${name} of ${layer.config.where} is missing`);
          return [name, await hdf5Constant(object, layer)] as const;
        }),
      );
      return inLegacyOrder(layer, slots, found);
    },
  };
}

/** A list of texts; Keras cuts one that is too long for an attribute into `weight_names0`, `weight_names1`, ... */
export async function textsOf(object: Hdf5Object, name: string): Promise<readonly string[]> {
  const whole = await object.attribute(name);
  if (whole?.kind === 'text') return whole.value;
  const texts: string[] = [];
  for (let part = 0; ; part++) {
    const piece = await object.attribute(`${name}${part}`);
    if (piece?.kind !== 'text') return texts;
    texts.push(...piece.value);
  }
}

async function hdf5Constant(object: Hdf5Object, layer: KerasLayer): Promise<Constant> {
  const stored = await object.attribute('dtype');
  if (stored?.kind === 'text' && stored.value[0] !== 'float32')
    throw unsupported(`a weight of ${layer.config.where} is stored as ${stored.value[0]}`);
  const { dtype, shape, byteLength, read } = await object.dataset();
  return weight({ dtype, shape, byteLength, load: read });
}

/** Floats as float32; counters and seeds as they are. */
function weight(constant: Constant): Constant {
  return /float/.test(constant.dtype) ? asFloat32(constant) : constant;
}

/**
 * Weights in the order of `model.weights` of Keras 2: those that are trained, then the others.
 * @param found Name and weight, in the order of the file.
 */
function inLegacyOrder(layer: KerasLayer, slots: readonly Slot[], found: readonly (readonly [string, Constant])[]): Map<string, Constant> {
  const ordered = [...slots.filter(({ trainable }) => trainable), ...slots.filter(({ trainable }) => !trainable)];
  const names = new Set(slots.map(({ name }) => name));
  const simpleNames = found.map(([name]) => (name.split('/').at(-1) ?? name).replace(/:\d+$/, ''));
  const isNamed =
    names.size === slots.length && simpleNames.every((name) => names.has(name)) && new Set(simpleNames).size === simpleNames.length;
  if (isNamed) {
    return new Map(
      ordered.flatMap((slot): [string, Constant][] => {
        const at = simpleNames.indexOf(slot.name);
        return at === -1 ? [] : [[keyOf(slot), found[at]![1]]];
      }),
    );
  }
  if (found.length !== ordered.length) {
    throw damaged(
      `${layer.config.where} has ${found.length} weights (${found.map(([name]) => name).join(', ')}), expected ${ordered.length}`,
    );
  }
  return new Map(
    ordered.map((slot, index) => {
      const name = simpleNames[index]!;
      if (names.has(name) && name !== slot.name)
        throw damaged(`weight ${index} of ${layer.config.where} is ${name}, expected ${slot.name}`);
      return [keyOf(slot), found[index]![1]];
    }),
  );
}

/** Weights of a TensorFlow.js LayersModel, which has them by names alone. */
export function namedStore(weights: ReadonlyMap<string, Constant>): WeightStore {
  const all = [...weights].map(([name, constant]): readonly [string, Constant] => [name, weight(constant)]);
  const of = (layer: KerasLayer): (readonly [string, Constant])[] => {
    for (const name of [layer.name, ...innerNames(layer)]) {
      const found = all.filter(([candidate]) => `/${candidate}`.includes(`/${name}/`));
      if (found.length > 0) return found;
    }
    return [];
  };
  const weightsOf = async (layer: KerasLayer, _: string, slots: readonly Slot[]): Promise<Map<string, Constant>> => {
    if (!layer.model) return inLegacyOrder(layer, slots, of(layer));
    const result = new Map<string, Constant>();
    for (const [inner, path] of placed(layer.model)) {
      const own = slotsOf(inner);
      if (own.length === 0) continue;
      for (const [key, constant] of await weightsOf(inner, path, own)) result.set(`${path}/${key}`, constant);
    }
    return result;
  };
  return { weightsOf };
}

/** Names of the layer inside a wrapper. */
function innerNames({ config }: KerasLayer): string[] {
  if (config.get('layer') === undefined) return [];
  const name = config.object('layer').config['name'];
  return typeof name === 'string' ? [name] : [];
}
