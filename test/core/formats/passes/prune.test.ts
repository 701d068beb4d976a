import { describe, expect, test } from 'vitest';
import { attribute, type Edge } from '../../../../src/core/formats/graph/index.ts';
import { pruneWeights } from '../../../../src/core/formats/passes/index.ts';
import { floats, GraphBuilder, runGraph } from './graph-builder.ts';

const matMul = { T: attribute.type('float32'), transpose_a: attribute.bool(false), transpose_b: attribute.bool(false) };

/** y = (x · kernel) + offset, with a kernel of 64 x 64 and an offset as large. */
function denseModel(kernelValues = floats([64, 64], 3)) {
  const graph = new GraphBuilder();
  const x = graph.input('x', [-1, 64]);
  const kernel = graph.constant(kernelValues);
  const offset = graph.floats([64, 64], 5);
  const y = graph.op('AddV2', [graph.op('MatMul', [x, kernel], matMul), offset]);
  return { model: graph.model({ y }), kernel, offset };
}

async function valuesOf({ nodes }: ReturnType<typeof pruneWeights>['model'], edge: Edge): Promise<number[]> {
  const tensor = await attribute.constantOf(nodes.get(edge.node)!).load();
  return Array.from(tensor.data, Number);
}

describe('pruning by magnitude', () => {
  test('zeroes the smallest weights of a kernel, keeps the others bit for bit and touches nothing else', async () => {
    const { model, kernel, offset } = denseModel();
    const before = await valuesOf(model, kernel);

    const pruned = pruneWeights(model, 0.5);

    expect(pruned).toMatchObject({ weights: 1, elements: 4096, zeros: 2048 });
    const after = await valuesOf(pruned.model, kernel);
    expect(after.filter((value) => value === 0)).toHaveLength(2048);
    const smallestKept = Math.min(...after.filter((value) => value !== 0).map(Math.abs));
    for (const [index, value] of after.entries()) {
      if (value === 0) expect(Math.abs(before[index]!)).toBeLessThanOrEqual(smallestKept);
      else expect(value).toBe(before[index]);
    }
    expect(await valuesOf(pruned.model, offset)).toEqual(await valuesOf(model, offset));
    expect(await valuesOf(model, kernel)).toEqual(before);
  });

  test('takes the first of equal magnitudes, whatever their signs', async () => {
    const { data, ...rest } = floats([64, 64], 3);
    const { model, kernel } = denseModel({
      ...rest,
      data: Float32Array.from({ length: data.length }, (_, i) => (i % 2 ? 1 : -1)),
    } as ReturnType<typeof floats>);

    const after = await valuesOf(pruneWeights(model, 0.25).model, kernel);

    expect(after.slice(0, 1024).every((value) => value === 0)).toBe(true);
    expect(after.slice(1024).every((value) => Math.abs(value) === 1)).toBe(true);
  });

  test('a share of 0 changes no answer', async () => {
    const { model } = denseModel();
    const inputs = { x: floats([1, 64], 9) };

    const pruned = pruneWeights(model, 0);

    expect(pruned).toMatchObject({ weights: 0, zeros: 0 });
    expect(await runGraph(pruned.model, inputs)).toEqual(await runGraph(model, inputs));
  });
});
