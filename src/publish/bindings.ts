import {
  compareOutputs,
  fromOwnOutputs,
  type ImageInput,
  isShapeCompatible,
  type ModelTensor,
  NearfarError,
  type SignatureBindings,
  type TensorBinding,
  type TensorMap,
  type Variant,
} from '../core/index.ts';
import type { NamedTensor, NamedTensors } from './signature.ts';
import type { Source, SourceSignature, SourceTensor } from './source.ts';

type Layout = ImageInput['layout'];
type Activation = TensorBinding['activation'];

/** Bindings said by hand, by the names of the signature; they win over what is found. */
export type GivenBindings = Readonly<Record<string, { readonly tensor: string; readonly activation?: Activation | undefined }>>;

/** The bindings of the source that decided the signature: its own tensors, nothing changed. */
export function bindDecider({ inputs, outputs }: NamedTensors, layout: Layout): SignatureBindings {
  const bind = ({ name, tensor }: NamedTensor): TensorBinding => ({ name, tensor, layout, ownLayout: layout, activation: 'none' });
  return { inputs: inputs.map(bind), outputs: outputs.map(bind) };
}

/** The bindings of a source that was written from the same graph as the deciding one: both have the same names. */
export function bindSibling({ inputs, outputs }: NamedTensors, own: SourceSignature, layout: Layout): SignatureBindings {
  const bindTo =
    (tensors: Readonly<Record<string, SourceTensor>>) =>
    ({ name, key }: NamedTensor): TensorBinding => {
      const found = tensors[key];
      if (!found) throw new NearfarError('internal', `a graph was written without its tensor ${key}`, { details: { name, key } });
      return { name, tensor: found.tensor, layout, ownLayout: found.layout ?? layout, activation: 'none' };
    };
  return { inputs: inputs.map(bindTo(own.inputs)), outputs: outputs.map(bindTo(own.outputs)) };
}

/**
 * Which of a source's own inputs takes which input of the signature: given by hand, the same name, or the only one of the dtype and shape
 * left. A shape that only fits with its axes in the other order says the layout.
 * @throws {NearfarError} `invalid-argument` when an input has no counterpart or several.
 */
export function bindInputs(
  { inputs }: NamedTensors,
  { format }: Source,
  own: SourceSignature,
  layout: Layout,
  given: GivenBindings,
): TensorBinding[] {
  const free = new Map(Object.entries(own.inputs));
  const byName = inputs.filter(({ name, tensor }) => given[name] || free.has(name) || free.has(tensor));
  const bound = new Map<string, TensorBinding>();
  for (const input of [...byName, ...inputs.filter((other) => !byName.includes(other))]) {
    const wanted = given[input.name]?.tensor;
    const candidates = [...free].flatMap(([key, info]) => {
      const ownLayout = layoutOf(input, info, layout);
      return ownLayout && (wanted === undefined || wanted === key || wanted === info.tensor)
        ? [{ key, tensor: info.tensor, ownLayout }]
        : [];
    });
    const found =
      candidates.find(({ key }) => key === input.name || key === input.tensor) ?? (candidates.length === 1 ? candidates[0] : undefined);
    if (!found) throw unbound(input, format, own, candidates.length);
    free.delete(found.key);
    bound.set(input.name, { name: input.name, tensor: found.tensor, layout, ownLayout: found.ownLayout, activation: 'none' });
  }
  if (free.size > 0) {
    throw new NearfarError('invalid-argument', `the ${format} source also needs the input ${[...free.keys()].join(', ')}`, {
      details: { format, inputs: [...free.keys()] },
    });
  }
  return inputs.flatMap(({ name }) => bound.get(name) ?? []);
}

/** Golden outputs of the signature beside what the source's own tensors held for the same inputs. */
export interface Trial {
  readonly expected: TensorMap;
  readonly own: TensorMap;
}

/**
 * Which of a source's own outputs gives which output of the signature, in which layout and after which activation. It is found by trying:
 * names alone cannot tell logits from probabilities. One own output may give several outputs.
 * @throws {NearfarError} `self-test-failed` when an output is reproduced by no own tensor within the tolerance.
 */
export function bindOutputs(
  { outputs }: NamedTensors,
  { format }: Source,
  own: SourceSignature,
  trials: readonly Trial[],
  layout: Layout,
  tolerance: Variant['tolerance'],
  given: GivenBindings,
): TensorBinding[] {
  return outputs.map((output) => {
    const candidates = outputCandidates(output, own, layout, given[output.name]);
    const tried = candidates.map((candidate) => ({ candidate, ...tryOut(candidate, trials, tolerance) }));
    const isNamesake = ({ tensor, activation }: TensorBinding) =>
      activation === 'none' && (tensor === output.name || tensor === output.tensor);
    const right = tried.filter(({ isWithin }) => isWithin).sort((a, b) => a.absolute - b.absolute);
    // Where all values are small several candidates can be within the tolerance: then the name decides, else the least difference.
    const found = right.find(({ candidate }) => isNamesake(candidate)) ?? right[0];
    if (found) return found.candidate;
    const closest = tried.reduce((least, { absolute }) => Math.min(least, absolute), Infinity);
    throw new NearfarError(
      'self-test-failed',
      `the ${format} source does not reproduce the output ${output.name}; its closest output is off by ${closest}, allowed is ${tolerance.absolute} + ${tolerance.relative} * |value|`,
      {
        details: {
          output: output.name,
          format,
          tried: candidates.length,
          closest: Number.isFinite(closest) ? closest : null,
          tolerance: { ...tolerance },
        },
      },
    );
  });
}

/** The bindings of one signature as the manifest writes them: always the tensor, the rest where it says something. */
export function writeBindings(
  { inputs, outputs }: SignatureBindings,
  ranks: ReadonlyMap<string, number>,
): NonNullable<Variant['bindings']>[string] {
  const write = (bindings: readonly TensorBinding[]) =>
    Object.fromEntries(
      bindings.map(({ name, tensor, ownLayout, activation }) => [
        name,
        { tensor, ...(ranks.get(name) === 4 && { layout: ownLayout }), ...(activation !== 'none' && { activation }) },
      ]),
    );
  return { inputs: write(inputs), outputs: write(outputs) };
}

function layoutOf({ dtype, shape }: NamedTensor, own: ModelTensor, layout: Layout): Layout | undefined {
  if (own.dtype !== dtype) return undefined;
  if (!shape || !own.shape || isShapeCompatible(own.shape, shape)) return layout;
  const [batch = 0, a = 0, b = 0, c = 0] = shape;
  const other = layout === 'NHWC' ? [batch, c, a, b] : [batch, b, c, a];
  if (shape.length === 4 && isShapeCompatible(own.shape, other)) return otherLayout(layout);
  return undefined;
}

function otherLayout(layout: Layout): Layout {
  return layout === 'NHWC' ? 'NCHW' : 'NHWC';
}

function outputCandidates(
  output: NamedTensor,
  own: SourceSignature,
  layout: Layout,
  given: GivenBindings[string] | undefined,
): TensorBinding[] {
  const entries = Object.entries(own.outputs);
  const known = given ? entries.filter(([key, { tensor }]) => key === given.tensor || tensor === given.tensor) : entries;
  const isSame = (key: string) => Number(key === output.name || key === output.tensor);
  const tensors = known.sort(([a], [b]) => isSame(b) - isSame(a)).map(([, { tensor }]) => tensor);
  const activations: readonly Activation[] = given ? [given.activation ?? 'none'] : ['none', 'softmax', 'sigmoid'];
  return tensors.flatMap((tensor) =>
    activations.flatMap((activation) =>
      [layout, otherLayout(layout)].map((ownLayout) => ({ name: output.name, tensor, layout, ownLayout, activation })),
    ),
  );
}

function tryOut(
  binding: TensorBinding,
  trials: readonly Trial[],
  tolerance: Variant['tolerance'],
): { isWithin: boolean; absolute: number } {
  const { name, tensor, layout, ownLayout, activation } = binding;
  let absolute = 0;
  for (const { expected, own } of trials) {
    const [right, value] = [expected[name], own[tensor]];
    // Only four dimensions have a layout, and only floats can be activated.
    if (!right || !value || right.dtype !== value.dtype) return { isWithin: false, absolute: Infinity };
    if (layout !== ownLayout && value.shape.length !== 4) return { isWithin: false, absolute: Infinity };
    if (activation !== 'none' && value.dtype !== 'float32') return { isWithin: false, absolute: Infinity };
    const got = fromOwnOutputs({ inputs: [], outputs: [binding] }, own, [name]);
    const agreement = compareOutputs({ [name]: right }, got, tolerance);
    absolute = Math.max(absolute, agreement.absolute);
    if (!agreement.isWithin) return { isWithin: false, absolute };
  }
  return { isWithin: true, absolute };
}

function unbound(
  { name, dtype, shape }: NamedTensor,
  format: Source['format'],
  { inputs }: SourceSignature,
  candidates: number,
): NearfarError {
  const own = Object.values(inputs).map(({ tensor, dtype: type, shape: size }) => `${tensor} (${type} [${size ?? '?'}])`);
  return new NearfarError(
    'invalid-argument',
    `${candidates === 0 ? 'none' : 'more than one'} of the inputs of the ${format} source fits ${name} (${dtype} [${shape ?? '?'}]): ${own.join(', ')}`,
    { details: { name, format, candidates, own } },
  );
}
