/** The labels of each axis of an `Einsum`'s inputs and output; an ellipsis is written out as labels of its own. */
export interface Equation {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

/** @returns Undefined when the equation does not fit these ranks. */
export function parseEquation(equation: string, ranks: readonly number[]): Equation | undefined {
  const [left, right] = equation.replaceAll(' ', '').split('->');
  const terms = left?.split(',') ?? [];
  if (right === undefined || terms.length !== ranks.length) return undefined;
  const extra = terms.map((term, i) => (term.includes('...') ? ranks[i]! - (term.length - 3) : 0));
  const widest = Math.max(0, ...extra);
  // Axes under an ellipsis are aligned at their ends, as in broadcasting.
  const expand = (term: string, count: number): string[] => {
    const [before, after] = term.split('...');
    if (after === undefined) return [...term];
    return [...before!, ...Array.from({ length: count }, (_, i) => `...${widest - count + i}`), ...after];
  };
  if (extra.some((count) => count < 0)) return undefined;
  const inputs = terms.map((term, i) => expand(term, extra[i]!));
  if (inputs.some((labels, i) => labels.length !== ranks[i])) return undefined;
  return { inputs, output: expand(right, widest) };
}
