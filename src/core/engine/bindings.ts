import { NearfarError } from '../errors.ts';
import { type Manifest, taskReferences, type Variant } from '../manifest/index.ts';
import { type Activation, activate } from '../postprocess/index.ts';
import type { AnyTensor, TensorMap } from '../tensor/index.ts';
import type { RunRequest } from './engine.ts';
import { type Allocate, changeLayout, type Layout, permuteShape } from './layout.ts';
import { signatureOf } from './request.ts';

/** How one name of a signature meets a variant's own tensor. */
export interface TensorBinding {
  /** Name in the signature. */
  readonly name: string;
  /** Name of the variant's own tensor. */
  readonly tensor: string;
  /** Layout of the call's tensor, and of the variant's own; the signature's where nothing is said. */
  readonly layout: Layout;
  readonly ownLayout: Layout;
  /** Applied to the variant's own output. */
  readonly activation: Activation;
}

/** How one signature meets a variant's own tensors. */
export interface SignatureBindings {
  readonly inputs: readonly TensorBinding[];
  readonly outputs: readonly TensorBinding[];
}

/**
 * Completes the bindings of a variant for one signature: a name that is not bound is the variant's own name, in the
 * signature's own layout. The layout of a signature is that of the task that feeds it, else NHWC.
 * @param layouts As in {@link RunRequest}: inputs that come in another layout.
 * @throws {NearfarError} `invalid-argument` for an unknown signature.
 */
export function resolveBindings(
  manifest: Manifest,
  variant: Variant,
  signatureName: string,
  layouts?: RunRequest['layouts'],
): SignatureBindings {
  const signature = signatureOf(manifest, signatureName);
  const bound = variant.bindings?.[signatureName];
  const layout = layoutOf(manifest, signatureName);
  const bind = (name: string, binding: NonNullable<NonNullable<typeof bound>['inputs']>[string] | undefined): TensorBinding => ({
    name,
    tensor: binding?.tensor ?? name,
    layout,
    ownLayout: binding?.layout ?? layout,
    activation: binding?.activation ?? 'none',
  });
  return {
    inputs: Object.keys(signature.inputs).map((name) => ({
      ...bind(name, bound?.inputs?.[name]),
      layout: givenLayout(layouts, name) ?? layout,
    })),
    outputs: Object.keys(signature.outputs).map((name) => bind(name, bound?.outputs?.[name])),
  };
}

/** Which tensors a variant's own model has. */
export interface OwnTensors {
  readonly hasInput: (tensor: string) => boolean;
  readonly hasOutput: (tensor: string) => boolean;
}

/**
 * Checks that a variant's model has every tensor its bindings name, for every signature.
 * @throws {NearfarError} `unsupported` that lists all the missing ones.
 */
export function assertBound(manifest: Manifest, variant: Variant, own: OwnTensors): void {
  const problems = Object.keys(manifest.signatures).flatMap((signature) => {
    const { inputs, outputs } = resolveBindings(manifest, variant, signature);
    return [
      ...inputs.filter(({ tensor }) => !own.hasInput(tensor)).map(({ name, tensor }) => `input ${signature}.${name} needs "${tensor}"`),
      ...outputs.filter(({ tensor }) => !own.hasOutput(tensor)).map(({ name, tensor }) => `output ${signature}.${name} needs "${tensor}"`),
    ];
  });
  if (problems.length === 0) return;
  throw new NearfarError('unsupported', `variant ${variant.id} of ${manifest.name} lacks tensors: ${problems.join('; ')}`, {
    details: { model: manifest.name, variant: variant.id, problems },
  });
}

function layoutOf(manifest: Manifest, signatureName: string): Layout {
  const ofTask = taskReferences(manifest.tasks).find(({ signature, layout }) => signature === signatureName && layout !== undefined);
  return ofTask?.layout ?? 'NHWC';
}

/**
 * The inputs of a call under the variant's own names and in its own layout; data is shared where nothing changes.
 * @param allocate Where numbers go that change their layout.
 * @throws {NearfarError} `shape-mismatch` when a layout must change on a tensor whose rank is not 4.
 */
export function toOwnInputs(bindings: SignatureBindings, inputs: TensorMap, allocate?: Allocate): TensorMap {
  return Object.fromEntries(
    bindings.inputs.map(({ name, tensor, layout, ownLayout }) => [tensor, changeLayout(name, inputs[name]!, layout, ownLayout, allocate)]),
  );
}

/** The inputs of a call in the layout of the signature; data is shared where nothing changes. */
export function inSignatureLayouts(manifest: Manifest, { signature, inputs, layouts }: RunRequest): TensorMap {
  const to = layoutOf(manifest, signature);
  return Object.fromEntries(
    Object.entries(inputs).map(([name, tensor]) => [name, changeLayout(name, tensor, givenLayout(layouts, name) ?? to, to)]),
  );
}

// An input may be called "constructor".
function givenLayout(layouts: RunRequest['layouts'], name: string): Layout | undefined {
  return layouts && Object.hasOwn(layouts, name) ? layouts[name] : undefined;
}

/** The variant's own tensors that the wanted outputs come from, each once. */
export function ownOutputNames(bindings: SignatureBindings, wanted: readonly string[]): readonly string[] {
  return [...new Set(bindings.outputs.filter(({ name }) => wanted.includes(name)).map(({ tensor }) => tensor))];
}

/** The wanted outputs in the signature's names and layout, activation applied; several may come from one own tensor. */
export function fromOwnOutputs(bindings: SignatureBindings, own: TensorMap, wanted: readonly string[]): TensorMap {
  const given = new Set<unknown>();
  const entries = bindings.outputs
    .filter(({ name }) => wanted.includes(name))
    .map((binding): [string, AnyTensor] => {
      const output = changeLayout(binding.name, own[binding.tensor]!, binding.ownLayout, binding.layout);
      const tensor = applyActivation(binding.name, binding.activation, output);
      // Outputs belong to the caller, who may transfer them: two must not share one buffer.
      const unshared = given.has(tensor.data) ? copyOf(tensor) : tensor;
      given.add(unshared.data);
      return [binding.name, unshared];
    });
  return Object.fromEntries(entries);
}

function copyOf(tensor: AnyTensor): AnyTensor {
  return { ...tensor, data: tensor.data.slice() } as AnyTensor; // the copy of an array has its kind
}

function applyActivation(name: string, activation: Activation, tensor: AnyTensor): AnyTensor {
  if (activation === 'none') return tensor;
  if (tensor.dtype === 'float32') return { ...tensor, data: activate(tensor.data, activation, tensor.shape.at(-1) ?? 1) };
  throw new NearfarError('unsupported', `output "${name}": ${activation} needs float32, the variant gives ${tensor.dtype}`, {
    details: { name, activation, dtype: tensor.dtype },
  });
}

/** The shape a graph declares for a bound input, written in the layout of the signature; undefined stays undefined. */
export function inSignatureLayout(binding: TensorBinding, ownShape: readonly number[] | undefined): readonly number[] | undefined {
  return ownShape && permuteShape(binding.name, ownShape, binding.ownLayout, binding.layout);
}
