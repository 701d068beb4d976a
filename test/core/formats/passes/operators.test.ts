import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { constNode, type GraphDType, type GraphNode, type ModelGraph, toConstant } from '../../../../src/core/formats/graph/index.ts';
import { evaluateNode, inferShapes, isEvaluable } from '../../../../src/core/formats/passes/index.ts';
import type { AnyTensor } from '../../../../src/core/tensor/index.ts';
import { tensor } from './graph-builder.ts';

interface RecordedTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly values: readonly (number | string | boolean)[];
  /** Shape of the placeholder that stands for it; absent for constants. */
  readonly partial?: readonly number[] | null;
}

interface Recorded {
  readonly op: string;
  readonly attributes: GraphNode['attributes'];
  readonly inputs: readonly RecordedTensor[];
  readonly outputs: readonly (RecordedTensor & { readonly inferred: readonly number[] | null })[];
}

// Made by TensorFlow 2.21: see make.py beside it.
const url = new URL('../../../fixtures/passes/operators.jsonl', import.meta.url);
const lines = readFileSync(url, 'utf8').trimEnd().split('\n');
const recorded = lines.map((line) => JSON.parse(line) as Recorded);

describe('operators, against TensorFlow', () => {
  const named = recorded.map((entry, i) => ({ name: `${i} ${entry.op}`, entry }));

  test.each(named.filter(({ entry }) => isEvaluable(entry.op)))('evaluates $name', ({ entry }) => {
    const node: GraphNode = { name: 'it', op: entry.op, inputs: [], controls: [], attributes: entry.attributes };

    const outputs = evaluateNode(node, entry.inputs.map(toTensor));

    expect(outputs).toBeDefined();
    // Of batch normalisation only the first output is defined when it is not training.
    const compared = entry.op.startsWith('FusedBatchNorm') ? entry.outputs.slice(0, 1) : entry.outputs;
    compared.forEach((want, i) => {
      const got = outputs![i]!;
      expect({ dtype: got.dtype, shape: [...got.shape] }).toEqual({ dtype: want.dtype, shape: want.shape });
      expectClose(got, toTensor(want));
    });
  });

  test.each(named)('infers what TensorFlow does of $name', async ({ entry }) => {
    const table = await inferShapes(modelOf(entry));

    for (const [index, want] of entry.outputs.entries()) {
      const { dtype, shape } = table.of({ node: 'it', index });
      expect(dtype).toBe(want.dtype);
      // Where TensorFlow knows a size we know it too; what we know besides is true.
      if (entry.op.startsWith('FusedBatchNorm') && index > 0) continue;
      const got = shape ?? null;
      if (want.inferred === null) {
        expect(got === null || isTrue(got, want.shape)).toBe(true);
        continue;
      }
      expect(got).toHaveLength(want.inferred.length);
      want.inferred.forEach((size, axis) => {
        if (size === -1) expect([-1, want.shape[axis]]).toContain(got![axis]);
        else expect(got![axis]).toBe(size);
      });
    }
  });
});

function isTrue(shape: readonly number[], actual: readonly number[]): boolean {
  return shape.length === actual.length && shape.every((size, axis) => size === -1 || size === actual[axis]);
}

function modelOf(entry: Recorded): ModelGraph {
  const inputs = entry.inputs.map((input, i): GraphNode => {
    const name = `input${i}`;
    if (input.partial === undefined) return constNode(name, toConstant(toTensor(input)));
    const shape = input.partial ?? undefined;
    return {
      name,
      op: 'Placeholder',
      inputs: [],
      controls: [],
      attributes: { dtype: { kind: 'type', value: input.dtype as GraphDType }, shape: { kind: 'shape', value: shape } },
    };
  });
  const edges = inputs.map(({ name }) => ({ node: name, index: 0 }));
  const node: GraphNode = { name: 'it', op: entry.op, inputs: edges, controls: [], attributes: entry.attributes };
  return { nodes: new Map([...inputs, node].map((each) => [each.name, each])), functions: new Map(), signatures: {}, unusable: {} };
}

function toTensor({ dtype, shape, values }: RecordedTensor): AnyTensor {
  return tensor(
    dtype as AnyTensor['dtype'],
    shape,
    values.map((value) => (dtype === 'string' ? value : Number(value))),
  );
}

function expectClose(got: AnyTensor, want: AnyTensor): void {
  if (got.dtype === 'string' || got.dtype === 'int64') {
    expect(got.data).toEqual(want.data);
    return;
  }
  const isFloat = got.dtype.startsWith('float');
  const largest = Math.max(1e-6, ...Array.from(want.data as Float32Array, (value) => (Number.isFinite(value) ? Math.abs(value) : 0)));
  for (const [i, value] of Array.from(got.data as Float32Array).entries()) {
    const expected = want.data[i] as number;
    if (!isFloat || got.dtype === 'float16' || !Number.isFinite(expected)) expect(value).toBe(expected);
    else expect(Math.abs(value - expected) / largest).toBeLessThan(1e-6);
  }
}
