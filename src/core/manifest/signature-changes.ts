import type { Manifest, Signature, TensorInfo } from './manifest.ts';

type Signatures = Manifest['signatures'];

/**
 * What clients of an older version can trip over in a newer one, in words: removed signatures, inputs and outputs, inputs that are new
 * and thus needed, other dtypes, inputs that take fewer shapes, outputs of other sizes. Empty when every call of the old one still works.
 */
export function signatureChanges(older: Signatures, newer: Signatures): readonly string[] {
  return Object.entries(older).flatMap(([name, before]) => {
    const after = own(newer, name);
    return after ? changesOf(before, after).map((change) => `${name}: ${change}`) : [`signature ${name} is gone`];
  });
}

function changesOf(before: Signature, after: Signature): readonly string[] {
  const added = Object.keys(after.inputs).filter((name) => !own(before.inputs, name));
  return [
    ...compareTensors('input', before.inputs, after.inputs, takesLess),
    ...added.map((name) => `input ${name} is new, and needed`),
    ...compareTensors('output', before.outputs, after.outputs, givesOther),
  ];
}

function compareTensors(
  kind: 'input' | 'output',
  before: Readonly<Record<string, TensorInfo>>,
  after: Readonly<Record<string, TensorInfo>>,
  isOtherShape: (before: readonly number[], after: readonly number[]) => boolean,
): readonly string[] {
  return Object.entries(before).flatMap(([name, old]) => {
    const current = own(after, name);
    if (!current) return [`${kind} ${name} is gone`];
    if (current.dtype !== old.dtype) return [`${kind} ${name} is ${current.dtype}, was ${old.dtype}`];
    return isOtherShape(old.shape, current.shape) ? [`${kind} ${name} has shape [${current.shape}], had [${old.shape}]`] : [];
  });
}

/** -1 is any size: what was any size or another one must be no more than that. */
function takesLess(before: readonly number[], after: readonly number[]): boolean {
  return before.length !== after.length || after.some((size, axis) => size !== -1 && size !== before[axis]);
}

/** Whoever read any size reads a fixed one too. */
function givesOther(before: readonly number[], after: readonly number[]): boolean {
  return before.length !== after.length || before.some((size, axis) => size !== -1 && size !== after[axis]);
}

// A tensor may be called "constructor".
function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
