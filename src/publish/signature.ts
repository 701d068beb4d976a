import { type DType, type ModelTensor, NearfarError, type Signature, type TensorInfo, type TensorMap } from '../core/index.ts';
import type { Source } from './source.ts';

/** The one signature a GraphModel or an ONNX file has, under the name TensorFlow gives it. */
export const SIGNATURE = 'serving_default';

/** A name of the signature with the tensor of the source that decided it. */
export interface NamedTensor {
  readonly name: string;
  readonly tensor: string;
  readonly dtype: DType;
  readonly shape: readonly number[] | undefined;
}

export interface NamedTensors {
  readonly inputs: readonly NamedTensor[];
  readonly outputs: readonly NamedTensor[];
}

/** The source that decides the signature: the first GraphModel, whose names and layout are TensorFlow's, else the first source. */
export function decidingSource(sources: readonly Source[]): Source {
  const [first] = sources;
  if (!first) throw new NearfarError('invalid-argument', 'publishing needs at least one source');
  return sources.find(({ format }) => format === 'tfjs-graph') ?? first;
}

/**
 * Names for the tensors of the deciding source: the names it gives them without TensorFlow's `:0`, then the renames.
 * @param renames New name by old name, where an old name is the source's, its tensor's, or either without `:0`.
 * @throws {NearfarError} `invalid-argument` when a rename meets nothing, or two tensors would have one name.
 */
export function nameTensors({ inputs, outputs }: Source, renames: Readonly<Record<string, string>>): NamedTensors {
  const unused = new Set(Object.keys(renames));
  const name = (tensors: Readonly<Record<string, ModelTensor>>): NamedTensor[] =>
    Object.entries(tensors).map(([key, info]) => {
      const old = [key, info.tensor, withoutIndex(key), withoutIndex(info.tensor)].find((candidate) => Object.hasOwn(renames, candidate));
      if (old !== undefined) unused.delete(old);
      return { name: (old !== undefined && renames[old]) || withoutIndex(key), ...info };
    });
  const named = { inputs: name(inputs), outputs: name(outputs) };
  if (unused.size > 0) {
    const known = [...Object.keys(inputs), ...Object.keys(outputs)];
    throw new NearfarError('invalid-argument', `nothing is called ${[...unused].join(', ')}; the model has: ${known.join(', ')}`, {
      details: { unknown: [...unused], known },
    });
  }
  for (const tensors of [named.inputs, named.outputs]) assertDistinct(tensors);
  return named;
}

/** The signature, with the shapes that the source leaves open taken from a run: the rank is kept, every size is open. */
export function completeSignature({ inputs, outputs }: NamedTensors, results: TensorMap): Signature {
  const complete = (tensors: readonly NamedTensor[]): Record<string, TensorInfo> =>
    Object.fromEntries(
      tensors.map(({ name, dtype, shape }) => [name, { dtype, shape: [...(shape ?? results[name]?.shape.map(() => -1) ?? [])] }]),
    );
  return { method: 'predict', inputs: complete(inputs), outputs: complete(outputs) };
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
