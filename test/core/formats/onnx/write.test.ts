import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GraphNode } from '../../../../src/core/formats/graph/index.ts';
import { type AnyTensor, NearfarError, type OnnxPrecision, optimize, type TensorMap, writeOnnx } from '../../../../src/core/index.ts';
import { bytesOf, type GraphCase, readGraphCases, runOnnx } from '../../../support/onnx-graphs.ts';

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

test('broken graphs are refused by a typed error', async () => {
  // Anything that writes: edges and numbers of one node are exchanged for others.
  const small = cases.filter(({ model }) => model.nodes.size < 60);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...small),
      fc.nat(),
      fc.integer({ min: -3, max: 2 ** 31 - 1 }),
      fc.nat(),
      async ({ model }, at, value, other) => {
        const names = [...model.nodes.keys()].sort();
        const node = model.nodes.get(names[at % names.length]!)!;
        const numbers = Object.entries(node.attributes).filter(([, { kind }]) => kind === 'int' || kind === 'list');
        const [key, attribute] = numbers[other % Math.max(1, numbers.length)] ?? [];
        const changed: GraphNode = {
          ...node,
          inputs:
            other % 2 === 0
              ? node.inputs
              : node.inputs.map((edge, index) =>
                  index === value % node.inputs.length ? { node: names[other % names.length]!, index: 0 } : edge,
                ),
          attributes:
            key === undefined || other % 2 === 1
              ? node.attributes
              : {
                  ...node.attributes,
                  [key]: attribute?.kind === 'list' ? { kind: 'list', value: [{ kind: 'int', value }] } : { kind: 'int', value },
                },
        };
        const broken = { ...model, nodes: new Map([...model.nodes, [node.name, changed]]) };
        try {
          await bytesOf(await writeOnnx(broken, { precision: 'uint8' }));
        } catch (error) {
          expect(error).toBeInstanceOf(NearfarError);
          expect(['invalid-argument', 'unsupported']).toContain((error as NearfarError).code);
        }
      },
    ),
    { numRuns: 1000 },
  );
});
