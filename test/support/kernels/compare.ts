import type { AnyTensor, Engine } from '../../../src/core/index.ts';
import { graphSource, node, placeholder, type TestNode, type Weight } from '../graph-models.ts';
import { type KernelCase, tensorOfCase } from './cases.ts';

/** What one backend made of a case: tensors, or why it has none. */
export type Outcome = { readonly outputs: readonly AnyTensor[] } | { readonly code: string; readonly message: string };

/** Runs the operator alone, as a model of one node. */
export async function runCase(engine: Engine, { op, inputs, attr, outputs }: KernelCase): Promise<Outcome> {
  const nodes: TestNode[] = [];
  const weights: Weight[] = [];
  for (const [index, input] of inputs.entries()) {
    if (!input.isParameter) nodes.push(placeholder(`in${index}`, input.dtype));
    else if (input.dtype !== 'complex64')
      weights.push({ name: `in${index}`, dtype: input.dtype, shape: input.shape, values: input.values });
  }
  nodes.push(
    node(
      'out',
      op,
      inputs.map((_, index) => `in${index}`),
      attr,
    ),
  );
  const fed = inputs.flatMap((input, index) => (input.isParameter ? [] : [[`in${index}`, input] as const]));
  const names = outputs.map((dtype, index) => [`out:${index}`, dtype] as const);
  const source = graphSource({
    nodes,
    weights,
    signatures: {
      serving_default: {
        inputs: Object.fromEntries(fed.map(([name, { dtype }]) => [name, dtype])),
        outputs: Object.fromEntries(names),
      },
    },
  });
  try {
    const loaded = await engine.load(source);
    try {
      const values = await loaded.run({
        signature: 'serving_default',
        inputs: Object.fromEntries(fed.map(([name, input]) => [name, tensorOfCase(input)])),
      });
      return { outputs: names.map(([name]) => values[name]!) };
    } finally {
      await loaded[Symbol.asyncDispose]();
    }
  } catch (error) {
    const { code = 'internal', message } = error as { code?: string; message: string };
    return { code, message };
  }
}

/** How an outcome differs from the reference; undefined where it does not. */
export function compareOutcomes({ tolerance }: KernelCase, reference: Outcome, outcome: Outcome): string | undefined {
  if (!('outputs' in outcome)) return 'outputs' in reference ? `${outcome.code}: ${outcome.message}` : undefined;
  if (!('outputs' in reference)) return `the reference has none (${reference.code}: ${reference.message})`;
  for (const [index, wanted] of reference.outputs.entries()) {
    const got = outcome.outputs[index]!;
    if (got.dtype !== wanted.dtype) return `dtype ${got.dtype}, not ${wanted.dtype}`;
    if (String(got.shape) !== String(wanted.shape)) return `shape [${got.shape}], not [${wanted.shape}]`;
    for (let at = 0; at < wanted.data.length; at++) {
      const [a, b] = [Number(got.data[at]), Number(wanted.data[at])];
      if (Object.is(a, b) || a === b) continue;
      const limit = wanted.dtype === 'float32' || wanted.dtype === 'complex64' ? tolerance * Math.max(1, Math.abs(b)) : 0;
      if (!(Math.abs(a - b) <= limit)) return `output ${index} at ${at}: ${a}, not ${b}`;
    }
  }
  return undefined;
}

/** A case that a backend does not answer as the reference does. */
export interface Difference {
  readonly name: string;
  readonly what: string;
}

/** All differences of a backend from the reference; with the reference itself, the cases that it has no answer for. */
export async function findDifferences(cases: readonly KernelCase[], reference: Engine, engine: Engine): Promise<Difference[]> {
  const differences: Difference[] = [];
  for (const each of cases) {
    const wanted = await runCase(reference, each);
    const what =
      engine === reference
        ? 'outputs' in wanted
          ? undefined
          : `${wanted.code}: ${wanted.message}`
        : compareOutcomes(each, wanted, await runCase(engine, each));
    if (what !== undefined) differences.push({ name: each.name, what });
  }
  return differences;
}

/**
 * Differences that are not accepted, and acceptances that nothing needs any more. What is accepted must be refused when the
 * model is loaded, never silently wrong.
 */
export function judge(
  differences: readonly Difference[],
  accepted: Readonly<Record<string, string>> = {},
): { unexpected: Difference[]; stale: string[] } {
  const beginnings = Object.keys(accepted);
  const isAccepted = ({ name, what }: Difference) =>
    what.startsWith('unsupported: ') && beginnings.some((beginning) => name.startsWith(beginning));
  return {
    unexpected: differences.filter((difference) => !isAccepted(difference)),
    stale: beginnings.filter((beginning) => !differences.some(({ name }) => name.startsWith(beginning))),
  };
}
