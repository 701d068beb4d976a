import { type DType, NearfarError, type Signature, type TensorInfo, type TensorMap } from '../core/index.ts';
import { SIGNATURE, type Source, type SourceTensor } from './source.ts';

/** A name of the signature with the tensor of the source that decided it. */
export interface NamedTensor {
  readonly name: string;
  /** The name by which the source's own signature has it. */
  readonly key: string;
  readonly tensor: string;
  readonly dtype: DType;
  readonly shape: readonly number[] | undefined;
}

export interface NamedTensors {
  readonly inputs: readonly NamedTensor[];
  readonly outputs: readonly NamedTensor[];
}

export interface NamedSignature extends NamedTensors {
  readonly method: Signature['method'];
}

/**
 * The source that decides the signatures and gives the golden outputs: a GraphModel, whose names and layout are TensorFlow's, else the first
 * source; in full precision where there is one.
 */
export function decidingSource(sources: readonly Source[]): Source {
  const [first] = sources;
  if (!first) throw new NearfarError('invalid-argument', 'publishing needs at least one source');
  const graphs = sources.filter(({ format }) => format === 'tfjs-graph');
  const isFull = ({ precision }: Source) => precision === 'float32';
  const isSibling = ({ graph, format }: Source) => graph !== undefined && graph === first.graph && format === first.format;
  return graphs.find(isFull) ?? graphs[0] ?? sources.find((source) => isSibling(source) && isFull(source)) ?? first;
}

/**
 * Names for the tensors of the deciding source, by signature: the names it gives them without TensorFlow's `:0`, then the renames.
 * @param renames New name by old name, where an old name is the source's, its tensor's, or either without `:0`.
 * @throws {NearfarError} `invalid-argument` when a rename meets nothing, or two tensors would have one name.
 */
export function nameSignatures({ signatures }: Source, renames: Readonly<Record<string, string>>): ReadonlyMap<string, NamedSignature> {
  const unused = new Set(Object.keys(renames));
  const known = new Set<string>();
  const name = (tensors: Readonly<Record<string, SourceTensor>>): NamedTensor[] =>
    Object.entries(tensors).map(([key, { tensor, dtype, shape }]) => {
      known.add(key);
      const old = [key, tensor, withoutIndex(key), withoutIndex(tensor)].find((candidate) => Object.hasOwn(renames, candidate));
      if (old !== undefined) unused.delete(old);
      return { name: (old !== undefined && renames[old]) || withoutIndex(key), key, tensor, dtype, shape };
    });
  const named = new Map(
    Object.entries(signatures).map(([signature, { method, inputs, outputs }]) => [
      signature,
      { method, inputs: name(inputs), outputs: name(outputs) },
    ]),
  );
  if (unused.size > 0) {
    throw new NearfarError('invalid-argument', `nothing is called ${[...unused].join(', ')}; the model has: ${[...known].join(', ')}`, {
      details: { unknown: [...unused], known: [...known] },
    });
  }
  for (const { inputs, outputs } of named.values()) for (const tensors of [inputs, outputs]) assertDistinct(tensors);
  return named;
}

/**
 * The signature that is meant where none is named: `serving_default`, else the only one.
 * @throws {NearfarError} `invalid-argument` when it has to be named.
 */
export function mainSignature(named: ReadonlyMap<string, NamedSignature>, wanted?: string): [string, NamedSignature] {
  const names = [...named.keys()];
  const name = wanted ?? (named.has(SIGNATURE) ? SIGNATURE : names.length === 1 ? names[0] : undefined);
  const signature = name === undefined ? undefined : named.get(name);
  if (name !== undefined && signature) return [name, signature];
  throw new NearfarError(
    'invalid-argument',
    `name the signature of the task (${wanted ?? 'none given'}); the model has: ${names.join(', ')}`,
    {
      details: { signature: wanted ?? null, known: names },
    },
  );
}

/** The signature, with the shapes that the source leaves open taken from a run: the rank is kept, every size is open. */
export function completeSignature(
  { method, inputs, outputs }: NamedSignature,
  example: { readonly inputs: TensorMap; readonly outputs: TensorMap } | undefined,
): Signature {
  const complete = (tensors: readonly NamedTensor[], run: TensorMap = {}): Record<string, TensorInfo> =>
    Object.fromEntries(
      // A batch of values where nothing is known.
      tensors.map(({ name, dtype, shape }) => [name, { dtype, shape: [...(shape ?? run[name]?.shape.map(() => -1) ?? [-1])] }]),
    );
  return { method, inputs: complete(inputs, example?.inputs), outputs: complete(outputs, example?.outputs) };
}

function withoutIndex(name: string): string {
  return name.replace(/:0$/, '');
}

function assertDistinct(tensors: readonly NamedTensor[]): void {
  const seen = new Set<string>();
  for (const { name } of tensors) {
    if (seen.has(name))
      throw new NearfarError('invalid-argument', `two tensors would be called ${name}; rename one`, { details: { name } });
    seen.add(name);
  }
}
