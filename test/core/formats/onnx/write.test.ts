import { describe, expect, test } from 'vitest';
import { type AnyTensor, type TensorMap, writeOnnx } from '../../../../src/core/index.ts';
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

async function answer({ model, inputs, expected }: GraphCase, precision: 'float32' | 'float16' | 'uint8'): Promise<TensorMap> {
  const dtypes = Object.fromEntries(Object.entries(expected).map(([name, { dtype }]) => [name, dtype]));
  return runOnnx(await writeOnnx(model, { precision }), inputs, dtypes);
}

describe("ONNX Runtime answers as TensorFlow to a written graph's operators", () => {
  test.each(cases.map((graph) => [graph.name, graph] as const))('%s', async (_, graph) => {
    const answers = await answer(graph, 'float32');

    for (const [name, want] of Object.entries(graph.expected)) {
      expect({ name, shape: answers[name]?.shape, dtype: answers[name]?.dtype }).toEqual({ name, shape: want.shape, dtype: want.dtype });
      expect(excessOf(answers[name]!, want, graph.tolerance), name).toBe(0);
    }
  });
});
