import { NearfarError } from '../../errors.ts';
import { type DType, isDType } from '../../tensor/index.ts';
import { type GraphSignature, type ModelGraph, reachable } from '../graph/index.ts';
import { GraphBuilder, type Value } from './builder.ts';
import { isRecord } from './config.ts';
import { type Keywords, layerKind, type Operand } from './layers/index.ts';
import {
  type Argument,
  allLayers,
  type Call,
  type KerasLayer,
  type KerasModel,
  type KerasVersion,
  refsOf,
  type TensorRef,
} from './model-config.ts';
import { damaged, unsupported } from './problems.ts';
import { Variables } from './variables.ts';
import { bindWeights, placed, type WeightStore } from './weights.ts';

/**
 * Builds the graph of a model with one signature `serving_default`, whose inputs are named by the input layers and whose outputs by the
 * layers that make them, as the SavedModels of Keras 2 are; a second output of one layer is `name_1`.
 * @throws {NearfarError} `unsupported` with all problems found: classes and settings that are not supported, by layer.
 */
export async function lowerModel(model: KerasModel, store: WeightStore, version: KerasVersion): Promise<ModelGraph> {
  const problems = foreignClasses(model);
  if (problems.length > 0) throw allProblems(problems);
  const weights = await bindWeights(model, store);
  const builder = new GraphBuilder();
  const context: Context = { builder, version, problems, calls: 0 };
  const inputs = model.inputs.map(([name, ref]) => [name, inputValue(builder, layerOf(model, ref), name)] as const);
  const outputs = lowerCalls(
    context,
    model,
    inputs.map(([, value]) => value),
    (layer) => weights.get(layer) ?? noWeights(layer),
  );
  if (problems.length > 0) throw allProblems(problems);
  const signature: GraphSignature = {
    method: 'predict',
    inputs: Object.fromEntries(inputs.map(([name, { edge, dtype, shape }]) => [name, { node: edge.node, dtype, shape }])),
    outputs: Object.fromEntries(
      model.outputs.map(([name], index) => {
        const value = outputs[index];
        if (!value) throw damaged(`output ${name} is never made`);
        return [name, { edge: value.edge, dtype: value.dtype, shape: value.shape }];
      }),
    ),
  };
  const ends = [
    ...Object.values(signature.inputs).map(({ node }) => node),
    ...Object.values(signature.outputs).map(({ edge }) => edge.node),
  ];
  const nodes = reachable(builder.nodes, ends);
  return { nodes, functions: builder.functions, signatures: { serving_default: signature }, unusable: {} };
}

interface Context {
  readonly builder: GraphBuilder;
  readonly version: KerasVersion;
  /** Filled while layers are lowered; what depends on a layer with a problem is passed over. */
  readonly problems: string[];
  /** How many layers were called so far. */
  calls: number;
}

/** Models used twice inside each other double with each level. */
const MAX_CALLS = 100_000;

function noWeights(layer: KerasLayer): Variables {
  return new Variables(new Map(), layer.config.where);
}

function allProblems(problems: readonly string[]): NearfarError {
  const list = [...new Set(problems)];
  return new NearfarError('unsupported', `the Keras model cannot be imported: ${list.join('; ')}`, {
    details: { format: 'keras', problems: list },
  });
}

/** Classes that are not known, each with its first layer, and settings that no layer may have. */
function foreignClasses(model: KerasModel): string[] {
  const layers = allLayers(model);
  const foreign = layers.filter(({ className, model: inner }) => !inner && className !== 'InputLayer' && !layerKind(className));
  const classes = [...new Set(foreign.map(({ className }) => className))].map((className) => {
    const [first, ...others] = foreign.filter((layer) => layer.className === className);
    const more = others.length > 0 ? ` (and ${others.length} more)` : '';
    return `layer "${first?.name}"${more} is of the class ${className}, which is not supported${hints[className] ?? ''}`;
  });
  return [...layers.flatMap(dtypeProblems), ...classes];
}

const python = ' (its function is Python code that no file holds; export the model with model.export("folder") and import the SavedModel)';

const hints: Readonly<Record<string, string>> = { Lambda: python, TFOpLambda: python, SlicingOpLambda: python, TensorFlowOpLayer: python };

/** Mixed precision keeps float32 weights and is computed in float32 here. */
const allowedPolicies: ReadonlySet<string> = new Set(['float32', 'mixed_float16', 'mixed_bfloat16']);

/** Layers whose dtype is that of their values, not of what they compute in. */
const dataLayers: ReadonlySet<string> = new Set(['InputLayer', 'Embedding', 'Flatten', 'Reshape']);

function dtypeProblems({ className, name, config }: KerasLayer): string[] {
  if (config.get('quantization_mode') !== undefined) return [`layer "${name}" is quantised (${String(config.get('quantization_mode'))})`];
  const dtype = config.get('dtype');
  const policy = isRecord(dtype) && isRecord(dtype['config']) ? dtype['config']['name'] : dtype;
  if (isRecord(dtype) && dtype['class_name'] === 'QuantizedDTypePolicy') return [`layer "${name}" is quantised (${String(policy)})`];
  if (typeof policy !== 'string' || allowedPolicies.has(policy) || dataLayers.has(className)) return [];
  return /float|int8|int4/.test(policy) ? [`layer "${name}" computes in ${policy}; float32 and mixed precision are supported`] : [];
}

function layerOf(model: KerasModel, { layer }: TensorRef): KerasLayer {
  const found = model.layers.find(({ name }) => name === layer);
  if (found) return found;
  throw damaged(`there is no layer ${layer}`);
}

function inputValue(builder: GraphBuilder, layer: KerasLayer, name: string): Value {
  const { config } = layer;
  if (layer.className !== 'InputLayer') throw unsupported(`the input ${name} comes from ${config.where}, which is no InputLayer`);
  config.refuse('sparse', [false]);
  config.refuse('ragged', [false]);
  return builder.placeholder(
    name,
    inputDType(config.get('dtype'), config.where),
    inputShape(config.get('batch_shape') ?? config.get('batch_input_shape'), config.where),
  );
}

function inputDType(value: unknown, where: string): DType {
  const dtype = (isRecord(value) && isRecord(value['config']) ? value['config']['name'] : value) ?? 'float32';
  if (typeof dtype === 'string' && dtype.startsWith('mixed_')) return 'float32';
  if (isDType(dtype)) return dtype;
  throw unsupported(`${where} has the dtype ${String(dtype)}`);
}

function inputShape(value: unknown, where: string): number[] {
  if (!Array.isArray(value) || value.length === 0) throw damaged(`${where} has no shape`);
  return value.map((size) => {
    if (size === null) return -1;
    if (Number.isSafeInteger(size) && size >= 0) return size;
    throw damaged(`${where} has the shape ${JSON.stringify(value)}`);
  });
}

/** Outputs of calls by layer and number of the call; null where a problem was met. */
type Made = Map<string, readonly Value[] | null>;

/**
 * Makes all calls of a model, each when what it takes is there: layers may be called again on what came of them.
 * @returns The outputs; undefined for those that a problem kept from being made.
 */
function lowerCalls(
  context: Context,
  model: KerasModel,
  inputs: readonly Value[],
  variablesOf: (layer: KerasLayer, path: string) => Variables,
): (Value | undefined)[] {
  const made: Made = new Map();
  for (const [index, [, ref]] of model.inputs.entries()) {
    const value = inputs[index];
    if (!value) throw damaged(`model ${model.name} is called with ${inputs.length} inputs, expected ${model.inputs.length}`);
    made.set(callKey(ref), [value]);
  }
  const layers = placed(model);
  let open = layers.flatMap(([layer, path]) => layer.calls.map((call, index) => ({ layer, path, call, key: `${layer.name}:${index}` })));
  while (open.length > 0) {
    const waiting: typeof open = [];
    for (const item of open) {
      const refs = [...item.call.args, ...Object.values(item.call.kwargs)].flatMap(refsOf);
      if (refs.some((ref) => !made.has(callKey(ref)))) waiting.push(item);
      else made.set(item.key, lowerCall(context, item.layer, item.call, made, variablesOf(item.layer, item.path)));
    }
    if (waiting.length === open.length) throw damaged(`layer ${waiting[0]?.layer.name} waits for what is never made`);
    open = waiting;
  }
  return model.outputs.map(([, ref]) => madeValue(made, ref));
}

function callKey({ layer, call }: TensorRef): string {
  return `${layer}:${call}`;
}

function madeValue(made: Made, ref: TensorRef): Value | undefined {
  const values = made.get(callKey(ref));
  if (values === null) return undefined;
  const value = values?.[ref.tensor];
  if (value) return value;
  throw damaged(`layer ${ref.layer} has no output ${ref.tensor} of call ${ref.call}`);
}

function lowerCall(context: Context, layer: KerasLayer, call: Call, made: Made, variables: Variables): readonly Value[] | null {
  context.calls++;
  if (context.calls > MAX_CALLS) throw damaged(`more than ${MAX_CALLS} calls of layers`);
  const refs = [...call.args, ...Object.values(call.kwargs)].flatMap(refsOf);
  if (refs.some((ref) => madeValue(made, ref) === undefined)) return null;
  const values = (argument: Argument) => refsOf(argument).map((ref) => madeValue(made, ref)!);
  const keywords: Keywords = {
    tensors: (name) => (Object.hasOwn(call.kwargs, name) ? values(call.kwargs[name]!) : []),
    value: (name) => {
      const argument = Object.hasOwn(call.kwargs, name) ? call.kwargs[name] : undefined;
      return argument?.kind === 'value' ? argument.value : undefined;
    },
  };
  const inputs = call.args.flatMap(values);
  // Keras 3 may give the first argument by name.
  const named = inputs.length === 0 ? ['inputs', 'sequences', 'query', 'sequence'].flatMap((name) => keywords.tensors(name)) : [];
  const toOperand = (argument: Argument): Operand => {
    if (argument.kind === 'tensor') return { kind: 'tensor', value: madeValue(made, argument.ref)! };
    if (argument.kind === 'list') return { kind: 'list', items: argument.items.map(toOperand) };
    return { kind: 'value', value: argument.kind === 'value' ? argument.value : argument.items };
  };
  try {
    const given = withMasks([...inputs, ...named], keywords.tensors('mask'));
    return callLayer(context, layer, given, variables, { keywords, operands: call.args.map(toOperand) });
  } catch (error) {
    if (!(error instanceof NearfarError) || error.code !== 'unsupported') throw error;
    context.problems.push(error.message);
    return null;
  }
}

/** Keras 3 writes the masks it computed as arguments of their own. */
function withMasks(inputs: readonly Value[], masks: readonly Value[]): readonly Value[] {
  return masks.length === inputs.length ? inputs.map((input, index) => ({ ...input, mask: masks[index] })) : inputs;
}

interface CallArguments {
  readonly keywords: Keywords;
  readonly operands: readonly Operand[];
}

const noArguments: CallArguments = { keywords: { tensors: () => [], value: () => undefined }, operands: [] };

function callLayer(
  context: Context,
  layer: KerasLayer,
  inputs: readonly Value[],
  variables: Variables,
  { keywords, operands }: CallArguments,
): readonly Value[] {
  const { builder, version } = context;
  const { model, config } = layer;
  if (model) return builder.scoped(layer.name, () => callModel(context, model, inputs, variables));
  const kind = layerKind(layer.className);
  if (!kind)
    throw unsupported(`layer "${layer.name}" is of the class ${layer.className}, which is not supported${hints[layer.className] ?? ''}`);
  return builder.scoped(layer.name, () => {
    const result = kind.lower({
      builder,
      layer,
      config,
      variables,
      inputs,
      operands,
      keywords,
      version,
      call: (inner, given, own) => callLayer(context, inner, given, own, noArguments),
    });
    const outputs = Array.isArray(result) ? (result as readonly Value[]) : [result as Value];
    const mask = kind.keepsMask ? inputs[0]?.mask : undefined;
    return mask ? outputs.map((output) => ({ ...output, mask: output.mask ?? mask })) : outputs;
  });
}

function callModel(context: Context, model: KerasModel, inputs: readonly Value[], variables: Variables): readonly Value[] {
  const before = context.problems.length;
  const outputs = lowerCalls(context, model, inputs, (_, path) => variables.inside(path));
  const whole = outputs.filter((output) => output !== undefined);
  if (whole.length === outputs.length) return whole;
  // Already listed; saying it once more lets the caller pass over what depends on it.
  throw unsupported(context.problems[before] ?? `model "${model.name}" cannot be imported`);
}
