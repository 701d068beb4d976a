import { expect, test } from 'vitest';
import { type Attributes, attribute, type Edge, type ModelGraph } from '../../../../src/core/formats/graph/index.ts';
import { inferShapes, optimize } from '../../../../src/core/formats/passes/index.ts';
import type { AnyTensor, TensorMap } from '../../../../src/core/tensor/index.ts';
import { floats, GraphBuilder, opsOf, runGraph, tensor } from './graph-builder.ts';

const layer = {
  strides: attribute.ints([1, 1, 1, 1]),
  dilations: attribute.ints([1, 1, 1, 1]),
  data_format: attribute.string('NHWC'),
};

/** Numbers that look random and are the same for the same seed (mulberry32). */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

interface Made {
  readonly edge: Edge;
  readonly shape: readonly number[];
}

/** A graph of images through layers, scales, copies, shape arithmetic and branches, as models have them and as they do not. */
function generate(seed: number): { model: ModelGraph; inputs: TensorMap } {
  const random = randomOf(seed);
  const graph = new GraphBuilder();
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const made: Made[] = [{ edge: graph.input('x', [-1, 4, 4, 3]), shape: [2, 4, 4, 3] }];
  const constants: Edge[] = [];
  const constant = (shape: readonly number[]): Edge => graph.constant(floats(shape, random(1000)));
  const put = (op: string, inputs: readonly Edge[], shape: readonly number[], attributes: Attributes = {}) => {
    made.push({ edge: graph.op(op, inputs, attributes), shape });
  };
  const perChannel = (channels: number): Edge => {
    const shape = pick([[channels], [1], [], [1, channels], [1, 1, 1, channels]]);
    const value = constant(shape);
    // Sometimes computed, so that folding has to come first.
    if (random(3) > 0) return value;
    return graph.op(pick(['AddV2', 'Mul', 'Sub']), [value, constants.length > 0 && random(2) ? pick(constants) : graph.float(1.5)]);
  };
  constants.push(graph.float(0.75));
  for (let step = 0; step < 14; step++) {
    // Mostly goes on from the last, so that chains grow.
    const { edge, shape } = random(4) ? made.at(-1)! : pick(made);
    const channels = shape.at(-1)!;
    const isImage = shape.length === 4;
    const choice = random(16);
    if (choice < 3 && isImage) {
      const out = 1 + random(4);
      put('Conv2D', [edge, constant([3, 3, channels, out])], shape.with(3, out), { ...layer, padding: attribute.string('SAME') });
    } else if (choice === 3 && isImage && channels <= 4) {
      const multiplier = 1 + random(2);
      const filter = constant([2, 2, channels, multiplier]);
      put('DepthwiseConv2dNative', [edge, filter], shape.with(3, channels * multiplier), { ...layer, padding: attribute.string('SAME') });
    } else if (choice === 4 && isImage) {
      const variance = Array.from(floats([channels], step).data as Float32Array, (value) => Math.abs(value) + 0.5);
      const parameters = [
        constant([channels]),
        constant([channels]),
        constant([channels]),
        graph.constant(tensor('float32', [channels], variance)),
      ];
      put('FusedBatchNormV3', [edge, ...parameters], shape, { is_training: attribute.bool(false), epsilon: attribute.float(0.001) });
    } else if (choice < 8) {
      const value = perChannel(channels);
      const op = pick(['Mul', 'AddV2', 'Sub', 'RealDiv']);
      const isSwapped = op !== 'RealDiv' && random(2) === 1;
      if (shape.length > 0)
        put(op, isSwapped ? [value, edge] : [edge, value], isImage ? shape : [...new Array(4 - shape.length).fill(1), ...shape]);
      // Lower ranks are broadcast by constants of four axes: what comes of that has a shape we do not follow.
      if (!isImage) made.pop();
    } else if (choice === 8) put(pick(['Relu', 'Relu6', 'Sigmoid', 'Elu', 'Tanh']), [edge], shape);
    else if (choice === 9) put(pick(['Identity', 'StopGradient']), [edge], shape);
    else if (choice === 10) put('Maximum', [edge, graph.float(0)], shape);
    else if (choice === 11) {
      const partner = pick(made.filter((other) => other.shape.join() === shape.join()));
      put(pick(['AddV2', 'Mul']), [edge, partner.edge], shape);
    } else if (choice === 12 && isImage) {
      const perm = pick([
        [0, 1, 2, 3],
        [0, 2, 1, 3],
      ]);
      put('Transpose', [edge, graph.ints(...perm)], shape);
    } else if (choice === 13 && shape.length > 1) {
      const batch = graph.op('StridedSlice', [graph.op('Shape', [edge]), graph.ints(0), graph.ints(1), graph.ints(1)], {
        shrink_axis_mask: attribute.int(1),
      });
      const rest = shape.slice(1).reduce((a, b) => a * b, 1);
      put('Reshape', [edge, graph.op('Pack', [batch, graph.int(rest)])], [shape[0]!, rest]);
    } else if (choice === 14 && shape.length === 2) {
      const out = 1 + random(4);
      const isTransposed = random(2) === 1;
      const weights = constant(isTransposed ? [out, channels] : [channels, out]);
      put('MatMul', [edge, weights], [shape[0]!, out], { transpose_b: attribute.bool(isTransposed) });
    } else if (choice === 15) {
      const split = graph.op('Split', [graph.int(-1), graph.op('ConcatV2', [edge, edge, graph.int(-1)])], { num_split: attribute.int(2) });
      made.push({ edge: { ...split, index: random(2) }, shape });
    }
  }
  const outputs = Object.fromEntries([made.at(-1)!, pick(made), pick(made)].map(({ edge }, i) => [`out${i}`, edge]));
  return { model: graph.model(outputs), inputs: { x: floats([2, 4, 4, 3], seed) } };
}

function difference(got: AnyTensor, want: AnyTensor): number {
  const values = Array.from(want.data as Float32Array);
  const largest = Math.max(1e-3, ...values.map(Math.abs));
  return Math.max(0, ...values.map((value, i) => Math.abs(value - (got.data[i] as number)))) / largest;
}

test('optimising generated graphs changes no answer, and their inferred shapes hold', async () => {
  let before = 0;
  let after = 0;
  const fused = new Set<string>();
  for (let seed = 1; seed <= 400; seed++) {
    const { model, inputs } = generate(seed);
    const want = await runGraph(model, inputs);
    const shapes = await inferShapes(model);

    const optimized = await optimize(model);

    const got = await runGraph(optimized, inputs);
    for (const [key, { edge }] of Object.entries(model.signatures['serving_default']!.outputs)) {
      const { shape } = shapes.of(edge);
      const actual = want[key]!.shape;
      expect(
        shape?.map((size, axis) => (size === -1 ? actual[axis] : size)),
        `shape of ${key}, seed ${seed}`,
      ).toEqual([...actual]);
      expect([...got[key]!.shape], `seed ${seed}`).toEqual([...actual]);
      if (Array.from(want[key]!.data as Float32Array).every(Number.isFinite)) {
        expect(difference(got[key]!, want[key]!), `${key}, seed ${seed}`).toBeLessThan(1e-4);
      }
    }
    before += model.nodes.size;
    after += optimized.nodes.size;
    for (const op of Object.keys(opsOf(optimized.nodes))) if (op.includes('Fused')) fused.add(op);
  }
  expect([...fused].sort()).toEqual(expect.arrayContaining(['FusedDepthwiseConv2dNative', '_FusedConv2D', '_FusedMatMul']));
  expect(after).toBeLessThan(before * 0.6);
});
