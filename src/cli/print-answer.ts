import * as v from 'valibot';
import { escapeControls, formatTable } from './table.ts';

const sides = { width: v.number(), height: v.number() };
const classSchema = v.object({ label: v.string(), score: v.number() });
const boxSchema = v.object({ xmin: v.number(), ymin: v.number(), xmax: v.number(), ymax: v.number() });
const segmentSchema = v.object({ label: v.string(), pixels: v.number() });

/** Told apart by form: a form that asks for less stands behind one that asks for more. */
const outputSchema = v.union([
  v.pipe(
    v.array(v.object({ label: v.string(), score: v.number(), box: boxSchema })),
    v.minLength(1),
    v.transform((objects) => ({ kind: 'objects' as const, objects })),
  ),
  v.pipe(
    v.array(classSchema),
    v.minLength(1),
    v.transform((classes) => ({ kind: 'classes' as const, classes })),
  ),
  v.pipe(
    v.array(v.number()),
    v.transform((numbers) => ({ kind: 'numbers' as const, numbers })),
  ),
  v.pipe(
    v.object({ mask: v.object({ ...sides, png: v.string() }), segments: v.array(segmentSchema) }),
    v.transform(({ mask, segments }) => ({ kind: 'mask' as const, picture: mask, segments })),
  ),
  v.pipe(
    v.object({ ...sides, png: v.string() }),
    v.transform((picture) => ({ kind: 'picture' as const, picture })),
  ),
]);

/** The output of a task as lines for a terminal. */
export function printOutput(output: unknown): string {
  const parsed = v.safeParse(outputSchema, output);
  if (!parsed.success) return Array.isArray(output) && output.length === 0 ? '  nothing found' : JSON.stringify(output, null, 2);
  switch (parsed.output.kind) {
    case 'objects':
      return indent(
        formatTable([
          ['OBJECT', 'SCORE', 'X', 'Y', 'WIDTH', 'HEIGHT'],
          ...parsed.output.objects.map(({ label, score, box: { xmin, ymin, xmax, ymax } }) => {
            return [label, percent(score), ...[xmin, ymin, xmax - xmin, ymax - ymin].map((side) => side.toFixed(0))];
          }),
        ]),
      );
    case 'classes':
      return printClasses(parsed.output.classes);
    case 'numbers':
      return printNumbers(parsed.output.numbers);
    case 'mask': {
      const { picture, segments } = parsed.output;
      const all = picture.width * picture.height;
      return [
        ...printClasses(segments.map(({ label, pixels }) => ({ label, score: pixels / all }))).split('\n'),
        `  of ${picture.width} x ${picture.height} pixels; --out FILE.png keeps the mask`,
      ].join('\n');
    }
    case 'picture':
      return `  a picture of ${parsed.output.picture.width} x ${parsed.output.picture.height} pixels; --out FILE.png keeps it`;
  }
}

/** The picture in an output, as PNG. */
export function pictureOf(output: unknown): Uint8Array | undefined {
  const parsed = v.safeParse(outputSchema, output);
  if (!parsed.success || (parsed.output.kind !== 'mask' && parsed.output.kind !== 'picture')) return undefined;
  return Buffer.from(parsed.output.picture.png, 'base64');
}

/** Classes with bars. */
export function printClasses(classes: readonly { readonly label: string; readonly score: number }[]): string {
  // Whoever made the model chose the names.
  const shown = classes.map(({ label, score }) => ({ label: escapeControls(label), score }));
  const width = Math.max(...shown.map(({ label }) => label.length));
  return shown.map(({ label, score }) => `  ${label.padEnd(width)}  ${percent(score).padStart(7)}  ${bar(score)}`).join('\n');
}

const shownNumbers = 8;

function printNumbers(numbers: readonly number[]): string {
  const shown = numbers.slice(0, shownNumbers).map((number) => String(Number(number.toPrecision(7))));
  return `  ${shown.join('  ')}${numbers.length > shownNumbers ? `  … ${numbers.length} numbers` : ''}`;
}

function percent(score: number): string {
  return `${(score * 100).toFixed(1)} %`;
}

/** A task without activation may score by logits, which are no shares of 1. */
function bar(score: number): string {
  return '█'.repeat(Math.round(Math.min(Math.max(score, 0), 1) * 30));
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ');
}
