import type { ClassScore, Outcome } from './ask-version.ts';
import { valuesOf } from './tensor-text.ts';

/** One thing that both answers have. */
export interface Difference {
  readonly name: string;
  readonly a: string | number;
  readonly b: string | number;
  /** How far apart; undefined where that is no number. */
  readonly by: number | undefined;
}

/** What differs between two answers, the largest difference first. */
export function differencesOf(a: Outcome, b: Outcome): readonly Difference[] {
  return pairsOf(a, b).toSorted((one, other) => (other.by ?? Infinity) - (one.by ?? Infinity));
}

function pairsOf(a: Outcome, b: Outcome): Difference[] {
  if (a.kind === 'classes' && b.kind === 'classes') return ofClasses(a.classes, b.classes);
  if (a.kind === 'mask' && b.kind === 'mask') {
    const count = (segments: typeof a.segments) => segments.map(({ label, index, pixels }) => ({ label, index, score: pixels }));
    return ofClasses(count(a.segments), count(b.segments));
  }
  if (a.kind === 'boxes' && b.kind === 'boxes') {
    return [
      pair('things found', a.found.length, b.found.length),
      ...Array.from({ length: Math.min(a.found.length, b.found.length) }, (_, index) => {
        const [one, other] = [a.found[index]!, b.found[index]!]; // both are as long
        return one.label === other.label
          ? pair(`${index + 1} ${one.label}`, one.score, other.score)
          : { name: String(index + 1), a: one.label, b: other.label, by: undefined };
      }),
    ];
  }
  if (a.kind === 'tensors' && b.kind === 'tensors') {
    return Object.entries(a.tensors).flatMap(([name, tensor]) => {
      const other = b.tensors[name];
      if (!other) return [{ name, a: 'there', b: 'not there', by: undefined }];
      if (tensor.shape.join() !== other.shape.join()) return [{ name, a: `[${tensor.shape}]`, b: `[${other.shape}]`, by: undefined }];
      const others = valuesOf(other);
      return valuesOf(tensor).map((value, index) => {
        const place = placeOf(index, tensor.shape);
        const beside = others[index] ?? '';
        return typeof value === 'number' && typeof beside === 'number'
          ? pair(`${name}${place}`, value, beside)
          : { name: `${name}${place}`, a: String(value), b: String(beside), by: value === beside ? 0 : undefined };
      });
    });
  }
  if (a.kind === 'picture' && b.kind === 'picture') {
    const isSame = a.picture.png === b.picture.png;
    return [
      {
        name: 'picture',
        a: `${a.picture.width} × ${a.picture.height}`,
        b: `${b.picture.width} × ${b.picture.height}`,
        by: isSame ? 0 : undefined,
      },
    ];
  }
  return [{ name: 'kind of answer', a: a.kind, b: b.kind, by: undefined }];
}

/** A class that one of them does not name has nothing there. */
function ofClasses(a: readonly ClassScore[], b: readonly ClassScore[]): Difference[] {
  const scores = (classes: readonly ClassScore[]) => new Map(classes.map(({ label, score }) => [label, score]));
  const [one, other] = [scores(a), scores(b)];
  return [...new Set([...one.keys(), ...other.keys()])].map((label) => pair(label, one.get(label) ?? 0, other.get(label) ?? 0));
}

function pair(name: string, a: number, b: number): Difference {
  const isSame = a === b || (Number.isNaN(a) && Number.isNaN(b));
  return { name, a, b, by: isSame ? 0 : Math.abs(a - b) };
}

function placeOf(index: number, shape: readonly number[]): string {
  let left = index;
  return shape
    .toReversed()
    .map((size) => {
      const at = left % size;
      left = Math.floor(left / size);
      return `[${at}]`;
    })
    .toReversed()
    .join('');
}
