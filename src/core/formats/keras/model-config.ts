import { Config, isRecord, type Json } from './config.ts';
import { damaged, unsupported } from './problems.ts';

/** An output of one call of a layer. */
export interface TensorRef {
  readonly layer: string;
  readonly call: number;
  readonly tensor: number;
}

/** What a layer is called with: tensors, lists of them, plain values. */
export type Argument =
  | { readonly kind: 'tensor'; readonly ref: TensorRef }
  | { readonly kind: 'list'; readonly items: readonly Argument[] }
  | { readonly kind: 'dict'; readonly items: Readonly<Record<string, Argument>> }
  | { readonly kind: 'value'; readonly value: unknown };

export interface Call {
  readonly args: readonly Argument[];
  readonly kwargs: Readonly<Record<string, Argument>>;
}

export interface KerasLayer {
  /** `ops.Add` of an operation of `keras.ops` between layers, `Package>Name` of a custom class. */
  readonly className: string;
  readonly name: string;
  readonly config: Config;
  /** Of a model used as a layer. */
  readonly model: KerasModel | undefined;
  readonly calls: readonly Call[];
  readonly trainable: boolean;
}

/** A Sequential or Functional model; a Sequential one is a chain of calls. */
export interface KerasModel {
  readonly className: string;
  readonly name: string;
  readonly layers: readonly KerasLayer[];
  /** By signature name. */
  readonly inputs: readonly (readonly [string, TensorRef])[];
  readonly outputs: readonly (readonly [string, TensorRef])[];
}

/** Keras 3 defines some functions anew (`hard_sigmoid`). */
export type KerasVersion = 2 | 3;

const MAX_NESTING = 20;

/** Classes of models that the config rebuilds without their Python code. */
const modelClasses: ReadonlySet<string> = new Set(['Sequential', 'Functional', 'Model']);

/**
 * The architecture of a model: what `model.to_json()` writes, in the forms of Keras 1 to 3 and of TensorFlow.js.
 * @throws {NearfarError} `unsupported` for a subclassed model, whose architecture is Python code.
 */
export function parseModel(json: Json, depth = 0): KerasModel {
  const className = json['class_name'];
  if (typeof className !== 'string') throw damaged('the model has no class_name');
  if (depth > MAX_NESTING) throw damaged(`models nested more than ${MAX_NESTING} deep`);
  const raw = json['config'];
  // Keras 1 writes the layers of a Sequential model alone.
  const config = Array.isArray(raw) ? { layers: raw } : raw;
  if (!isRecord(config)) throw damaged(`the ${className} model has no config`);
  const name = typeof config['name'] === 'string' ? config['name'] : 'model';
  const layers = config['layers'];
  if (!Array.isArray(layers) || !(modelClasses.has(className) || 'input_layers' in config)) {
    throw unsupported(
      `the model is of the class ${className}, whose architecture is Python code that no file holds; export it with model.export("folder") and import the SavedModel`,
    );
  }
  const isSequential = className === 'Sequential';
  const parsed = isSequential ? parseSequential(json, config, layers, name, depth) : parseFunctional(config, layers, depth);
  const names = parsed.layers.map((layer) => layer.name);
  const twice = names.find((candidate, index) => names.indexOf(candidate) !== index);
  if (twice !== undefined) throw damaged(`two layers are called ${twice}`);
  return { className, name, ...parsed };
}

/** All layers, those of inner models and of wrappers too. */
export function allLayers(model: KerasModel): KerasLayer[] {
  return model.layers.flatMap((layer) => [layer, ...(layer.model ? allLayers(layer.model) : [])]);
}

/** A layer described inside another one's config (of a wrapper). */
export function parseInnerLayer(json: Json, fallbackName: string, depth = 0): KerasLayer {
  return parseLayer(json, fallbackName, [], depth);
}

type Parts = Pick<KerasModel, 'layers' | 'inputs' | 'outputs'>;

function parseSequential(json: Json, config: Json, list: readonly unknown[], name: string, depth: number): Parts {
  const layers: KerasLayer[] = [];
  let last: TensorRef | undefined;
  for (const [index, item] of list.entries()) {
    if (!isRecord(item)) throw damaged(`layer ${index} of ${name} is no object`);
    const call = (ref: TensorRef): Call[] => [{ args: [{ kind: 'tensor', ref }], kwargs: {} }];
    const layer = parseLayer(item, `layer_${index}`, last ? call(last) : [], depth);
    if (!last && layer.className !== 'InputLayer') {
      const input = inputOf(layer, json, config, name);
      layers.push(input, { ...layer, calls: call({ layer: input.name, call: 0, tensor: 0 }) });
    } else layers.push(layer);
    last = { layer: layer.name, call: 0, tensor: 0 };
  }
  const [first] = layers;
  if (!first || !last) throw damaged(`${name} has no layers`);
  const input: TensorRef = { layer: first.name, call: 0, tensor: 0 };
  return { layers, inputs: [[first.name, input]], outputs: [[last.layer, last]] };
}

/** The input that Keras adds to a Sequential model, named as Keras 2 does. */
function inputOf(first: KerasLayer, json: Json, config: Json, model: string): KerasLayer {
  const build = isRecord(json['build_config']) ? json['build_config'] : {};
  const own = first.config.values;
  const inner = first.model?.layers.find(({ className }) => className === 'InputLayer')?.config.values ?? {};
  const candidates = [
    own['batch_input_shape'],
    own['batch_shape'],
    config['build_input_shape'],
    build['input_shape'],
    inner['batch_input_shape'],
    inner['batch_shape'],
  ];
  const shape = candidates.find((candidate) => Array.isArray(candidate));
  if (shape === undefined)
    throw unsupported(
      `the Sequential model ${model} says no input shape: give its first layer one, or call the model once, and save again`,
    );
  const name = `${first.name}_input`;
  const values = { batch_input_shape: shape, dtype: own['input_dtype'] ?? inner['dtype'] ?? own['dtype'] ?? 'float32', name };
  return {
    className: 'InputLayer',
    name,
    config: new Config(values, `InputLayer "${name}"`),
    model: undefined,
    calls: [],
    trainable: true,
  };
}

function parseFunctional(config: Json, list: readonly unknown[], depth: number): Parts {
  const raw = list.map((item, index) => {
    if (!isRecord(item)) throw damaged(`layer ${index} is no object`);
    const nodes = item['inbound_nodes'];
    const calls = Array.isArray(nodes) ? nodes.filter((node) => !isEmpty(node)).map(parseCall) : [];
    return parseLayer(item, `layer_${index}`, calls, depth);
  });
  const byName = new Map(raw.map((layer) => [layer.name, layer]));
  const inbound = raw.flatMap(({ calls }) => calls.flatMap((call) => [...call.args, ...Object.values(call.kwargs)].flatMap(refsOf)));
  const renumberInbound = renumbering(byName, inbound);
  const layers = raw.map((layer) => ({ ...layer, calls: layer.calls.map((call) => renumberCall(call, renumberInbound)) }));
  const inputs = namedRefs(config['input_layers'], 'input_layers');
  const outputs = namedRefs(config['output_layers'], 'output_layers');
  const renumberOutputs = renumbering(
    byName,
    outputs.map(([, ref]) => ref),
  );
  if (inputs.length === 0 || outputs.length === 0) throw damaged('a functional model without inputs or outputs');
  return { layers, inputs: unique(inputs), outputs: unique(outputs.map(([name, ref]) => [name, renumberOutputs(ref)])) };
}

/** Keras 2 writes `[]` for a layer that has no inputs, within the list of nodes too. */
function isEmpty(node: unknown): boolean {
  return Array.isArray(node) && node.length === 0;
}

/**
 * A model used as a layer begins with a call of its own, which some versions of Keras count and others do not: when the highest number
 * of a call is beyond the last one, they were counted from 1.
 */
function renumbering(layers: ReadonlyMap<string, KerasLayer>, refs: readonly TensorRef[]): (ref: TensorRef) => TensorRef {
  const shifted = new Set<string>();
  for (const { layer, call } of refs) {
    const target = layers.get(layer);
    if (target?.model && call >= target.calls.length) shifted.add(layer);
  }
  return (ref) => (shifted.has(ref.layer) && ref.call > 0 ? { ...ref, call: ref.call - 1 } : ref);
}

function renumberCall(call: Call, renumber: (ref: TensorRef) => TensorRef): Call {
  const change = (argument: Argument): Argument => {
    if (argument.kind === 'tensor') return { kind: 'tensor', ref: renumber(argument.ref) };
    if (argument.kind === 'list') return { kind: 'list', items: argument.items.map(change) };
    if (argument.kind === 'dict') return { kind: 'dict', items: mapValues(argument.items, change) };
    return argument;
  };
  return { args: call.args.map(change), kwargs: mapValues(call.kwargs, change) };
}

/** The tensors of an argument, in order. */
export function refsOf(argument: Argument): TensorRef[] {
  if (argument.kind === 'tensor') return [argument.ref];
  if (argument.kind === 'list') return argument.items.flatMap(refsOf);
  if (argument.kind === 'dict') return Object.values(argument.items).flatMap(refsOf);
  return [];
}

function parseLayer(json: Json, fallbackName: string, calls: readonly Call[], depth: number): KerasLayer {
  const className = json['class_name'];
  if (typeof className !== 'string') throw damaged('a layer has no class_name');
  const config = isRecord(json['config']) ? json['config'] : {};
  const name = [json['name'], config['name']].find((candidate) => typeof candidate === 'string') ?? fallbackName;
  const prefix = prefixOf(json);
  const isModel = modelClasses.has(className) && (Array.isArray(config['layers']) || Array.isArray(json['config']));
  return {
    className: `${prefix}${className}`,
    name: String(name),
    config: new Config(config, `${className} "${name}"`),
    model: isModel ? parseModel(json, depth + 1) : undefined,
    calls,
    trainable: config['trainable'] !== false,
  };
}

/** Keras 3 says where a class comes from: an operation or another's class may have the name of one of Keras' layers. */
function prefixOf(json: Json): string {
  if (!('module' in json)) return '';
  const { module, registered_name: registered } = json;
  if (typeof module === 'string' && /^(tf_)?keras\b/.test(module)) return /^keras(\.src)?\.ops\b/.test(module) ? 'ops.' : '';
  return typeof registered === 'string' && registered.includes('>')
    ? `${registered.slice(0, registered.indexOf('>') + 1)}`
    : `${String(module)}.`;
}

/** One entry of `inbound_nodes`: an object since Keras 3, a list of `[layer, call, tensor, kwargs]` before. */
function parseCall(node: unknown): Call {
  if (isRecord(node) && ('args' in node || 'kwargs' in node)) {
    const args = Array.isArray(node['args']) ? node['args'].map((item) => parseArgument(item)) : [];
    const kwargs = isRecord(node['kwargs']) ? mapValues(node['kwargs'], (item) => parseArgument(item)) : {};
    return { args, kwargs };
  }
  if (isRecord(node)) throw unsupported('a layer that is called with a dictionary of inputs, as Keras 2 writes it');
  if (!Array.isArray(node)) throw damaged('inbound_nodes holds something else than calls');
  const tensors = isLegacyRef(node) ? [node] : node;
  const kwargs: Record<string, Argument> = {};
  const items = tensors.map((tensor): Argument => {
    if (!isLegacyRef(tensor)) throw damaged(`inbound_nodes holds ${JSON.stringify(tensor)?.slice(0, 80)}`);
    if (isRecord(tensor[3])) for (const [name, value] of Object.entries(tensor[3])) kwargs[name] = parseLegacyArgument(value);
    return { kind: 'tensor', ref: toRef(tensor) };
  });
  const [only] = items;
  return { args: items.length === 1 && only ? [only] : [{ kind: 'list', items }], kwargs };
}

function parseArgument(value: unknown): Argument {
  if (Array.isArray(value)) return { kind: 'list', items: value.map((item) => parseArgument(item)) };
  if (!isRecord(value)) return { kind: 'value', value };
  const config = value['config'];
  if (value['class_name'] === '__keras_tensor__' && isRecord(config)) {
    const history = config['keras_history'];
    if (!isLegacyRef(history)) throw damaged('a tensor without its history');
    return { kind: 'tensor', ref: toRef(history) };
  }
  if ('class_name' in value) return { kind: 'value', value };
  return { kind: 'dict', items: mapValues(value, (item) => parseArgument(item)) };
}

/** Keyword arguments of Keras 2 name tensors as `[layer, call, tensor]`. */
function parseLegacyArgument(value: unknown): Argument {
  if (isLegacyRef(value)) return { kind: 'tensor', ref: toRef(value) };
  if (Array.isArray(value)) return { kind: 'list', items: value.map((item) => parseLegacyArgument(item)) };
  return { kind: 'value', value };
}

type LegacyRef = readonly [string, number, number, ...unknown[]];

function isLegacyRef(value: unknown): value is LegacyRef {
  if (!Array.isArray(value) || value.length < 3 || typeof value[0] !== 'string') return false;
  return Number.isSafeInteger(value[1]) && value[1] >= 0 && Number.isSafeInteger(value[2]) && value[2] >= 0;
}

function toRef([layer, call, tensor]: LegacyRef): TensorRef {
  return { layer, call, tensor };
}

/** `[["a", 0, 0], ...]`, one of them alone, or by names of their own. */
function namedRefs(value: unknown, what: string): [string, TensorRef][] {
  if (isLegacyRef(value)) return [[value[0], toRef(value)]];
  if (Array.isArray(value)) return value.flatMap((item) => namedRefs(item, what));
  if (isRecord(value)) {
    return Object.entries(value).flatMap(([name, item]) => namedRefs(item, what).map(([, ref]): [string, TensorRef] => [name, ref]));
  }
  throw damaged(`${what} of a functional model`);
}

/** Keras 2 numbers equal names: `dense`, `dense_1`. */
function unique(refs: readonly (readonly [string, TensorRef])[]): [string, TensorRef][] {
  const used = new Set<string>();
  return refs.map(([name, ref]) => {
    let free = name;
    for (let count = 1; used.has(free); count++) free = `${name}_${count}`;
    used.add(free);
    return [free, ref];
  });
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}
