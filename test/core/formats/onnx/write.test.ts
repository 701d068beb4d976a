import { describe, expect, test } from 'vitest';
import { type AnyTensor, type OnnxPrecision, optimize, type TensorMap, writeOnnx } from '../../../../src/core/index.ts';
import { type GraphCase, readGraphCases, runOnnx } from '../../../support/onnx-graphs.ts';

const cases = await readGraphCases();

/** Largest difference beside what the size of the numbers allows; Infinity where shapes, dtypes or what is not finite differ. */
function excessOf(got: AnyTensor, want: AnyTensor, tolerance: number): number {
  if (got.dtype !== want.dtype || got.shape.join() !== want.shape.join()) return Number.POSITIVE_INFINITY;
  return Math.max(
    0,
    ...Array.from(want.data as Iterable<number | bigint>, (expected, index) => {
      const [a, b] = [Number(got.data[index]), Number(expected)];
      if (Object.is(a, b) || a === b) return 0;
      const excess = Math.abs(a - b) - tolerance * (1 + Math.abs(b));
      return Number.isNaN(excess) ? Number.POSITIVE_INFINITY : excess;
    }),
  );
}

async function answer({ model, inputs, expected }: GraphCase, precision: OnnxPrecision): Promise<TensorMap> {
  const dtypes = Object.fromEntries(Object.entries(expected).map(([name, { dtype }]) => [name, dtype]));
  return runOnnx(await writeOnnx(model, { precision }), inputs, dtypes);
}

function expectAgreement(answers: TensorMap, expected: TensorMap, tolerance: number): void {
  for (const [name, want] of Object.entries(expected)) {
    const got = answers[name];
    expect({ name, shape: got?.shape, dtype: got?.dtype }).toEqual({ name, shape: want.shape, dtype: want.dtype });
    expect(excessOf(got!, want, tolerance), name).toBe(0);
  }
}

describe('ONNX Runtime answers as TensorFlow', () => {
  test.each(cases.map((graph) => [graph.name, graph] as const))('%s', async (_, graph) => {
    expectAgreement(await answer(graph, 'float32'), graph.expected, graph.tolerance);
  });

  test.each(cases.map((graph) => [graph.name, graph] as const))('%s, optimised before', async (_, graph) => {
    const model = await optimize(graph.model);

    expectAgreement(await answer({ ...graph, model }, 'float32'), graph.expected, graph.tolerance);
  });

  // What jumps where two numbers meet, or has no close float16.
  const jumping = /Floor|Ceil|Round|Rint|Mod|Equal|Less|Greater|Unique|Where|arithmetic|NonMax|Cast|Tan$|ties/;
  test.each(cases.filter(({ name }) => !jumping.test(name)).map((graph) => [graph.name, graph] as const))(
    '%s, in float16',
    async (_, graph) => {
      expectAgreement(await answer(graph, 'float16'), graph.expected, 0.03);
    },
  );
});
