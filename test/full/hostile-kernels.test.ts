import { afterAll, expect, test } from 'vitest';
import type { Engine } from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { type KernelCase, kernelCases } from '../support/kernels/cases.ts';
import { compareOutcomes, runCase } from '../support/kernels/compare.ts';

// Every operator with whole numbers that no model means, such as a client may send: the wasm backend must neither read nor write beyond its
// tensors. TensorFlow.js' CPU backend, which cannot, says what is refused.

const platform = await openNodePlatform({ gpu: false });
const reference = await openEngine('tfjs-cpu', platform);
afterAll(() => reference[Symbol.asyncDispose]());

const hostile = [-1, -7, 50, 100_000, 2 ** 31 - 1, -(2 ** 31)];
/** Cases of one operator and one of its inputs. */
const mostCases = 3;
/** What the CPU backend would try to make, in JavaScript's own memory. */
const makesLarge =
  /Range|Fill|Tile|BroadcastTo|OneHot|Resize|Pad|Bincount|LinSpace|SparseToDense|ScatterNd|RandomUniform|Multinomial|Reshape|TensorList|Crop|Batch/;

function* mutations(): Generator<KernelCase> {
  const seen = new Map<string, number>();
  for (const one of kernelCases) {
    if (one.inputs.length < 2) continue;
    for (const [index, input] of one.inputs.entries()) {
      const key = `${one.op} ${index} ${input.isParameter}`;
      const count = seen.get(key) ?? 0;
      if (input.dtype !== 'int32' || input.values.length === 0 || count >= mostCases) continue;
      seen.set(key, count + 1);
      for (const value of hostile) {
        if (Math.abs(value) > 100_000 && makesLarge.test(one.op)) continue;
        const inputs = one.inputs.map((each, at) => (at === index ? { ...input, values: [...input.values.slice(0, -1), value] } : each));
        yield { ...one, name: `${one.name}, ${value} at the end of input ${index}`, inputs };
      }
    }
  }
}

test('the wasm backend refuses what points beyond its tensors, and its heap stays whole', { timeout: 300_000 }, async () => {
  const canary = kernelCases.find(({ op, inputs }) => op === 'Softmax' && inputs[0]?.dtype === 'float32')!;
  const expected = await runCase(reference, canary);
  let engine: Engine = await openEngine('tfjs-wasm', platform);
  let count = 0;
  const broken: string[] = [];
  for (const one of mutations()) {
    count++;
    const outcome = await runCase(engine, one);
    const damage = compareOutcomes(canary, expected, await runCase(engine, canary));
    if (damage !== undefined) {
      broken.push(`${one.name}: ${damage}`);
      await engine[Symbol.asyncDispose]();
      engine = await openEngine('tfjs-wasm', platform);
    } else if ('outputs' in outcome) {
      const wanted = await runCase(reference, one);
      if (!('outputs' in wanted)) broken.push(`${one.name}: an answer, where the reference says ${wanted.message}`);
    }
  }
  await engine[Symbol.asyncDispose]();

  expect(count).toBeGreaterThan(2_000);
  expect(broken).toEqual([]);
});
