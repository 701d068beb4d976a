import type { Comparison } from './measure.ts';

const columns = ['bench', 'case', 'nearfar', 'against', 'ratio', 'n', 'bar'] as const;

/** One comparison as a line to read while the others still run. */
export function formatComparison({ case: what, unit, subject, reference, ratio, bar, details }: Comparison): string {
  const sides = [subject, reference].map(({ name, median }) => `${name} ${number(median)} ${unit}`).join(', ');
  return `  ${what}: ${sides}, ratio ${ratio.toFixed(2)}, n ${subject.samples.length}${bar ? `; ${verdict(bar)}` : ''}${details ? `\n    ${details}` : ''}`;
}

/** All comparisons as a Markdown table. */
export function formatTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map(({ bench, case: what, unit, subject, reference, ratio, bar }) => [
    bench,
    what,
    `${number(subject.median)} ${unit} (${subject.name})`,
    `${number(reference.median)} ${unit} (${reference.name})`,
    ratio.toFixed(2),
    String(subject.samples.length),
    bar ? verdict(bar) : '',
  ]);
  const table = [[...columns], ...rows];
  const widths = columns.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line([...columns]), rule, ...rows.map(line)].join('\n');
}

function verdict({ text, isMet }: NonNullable<Comparison['bar']>): string {
  return `${text}: ${isMet ? 'met' : 'NOT MET'}`;
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}

/** Whether the parts of each measurement are printed, too. */
export const showsDetails = process.env['NEARFAR_BENCH_DETAILS'] !== undefined;

export function formatTimes(times: Readonly<Record<string, number>>): string {
  return Object.entries(times)
    .map(([name, ms]) => `${name} ${number(ms)}`)
    .join(', ');
}
