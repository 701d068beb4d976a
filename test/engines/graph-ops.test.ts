import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { kernelsOfOp, needsAsyncExecutor, unsupportedOps } from '../../src/engines/tfjs/graph-ops.ts';

const require = createRequire(import.meta.url);
const folderOf = (name: string) => dirname(require.resolve(`@tensorflow/${name}/package.json`));

/** TensorFlow operators that the converter knows, each with the functions of tfjs-core it calls. */
const converterOps: Record<string, string[]> = JSON.parse(
  readFileSync(join(folderOf('tfjs-converter'), 'metadata/kernel2op.json'), 'utf8'),
);

/** Kernel names of tfjs-core: `export const Abs = 'Abs'`. */
const kernelNames = new Map(
  [...readFileSync(join(folderOf('tfjs-core'), 'dist/kernel_names.js'), 'utf8').matchAll(/export const (\w+) = '([^']+)'/g)].map(
    ([, constant, name]) => [constant!, name!],
  ),
);

const opsFolder = join(folderOf('tfjs-core'), 'dist/ops');
const opSources = readdirSync(opsFolder, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.js') && !path.includes('test') && !path.startsWith('fused'))
  .map((path) => readFileSync(join(opsFolder, path), 'utf8').replace(/^\/\/# sourceMappingURL.*$/m, ''));

/** The kernels that a function of tfjs-core runs, where its own file runs any. */
function kernelsRunBy(call: string): string[] {
  const name = call.split('.').at(-1)!;
  const isHome = new RegExp(`export (const ${name} = |\\{ ${name}_? as ${name} |\\{ ${name} \\})`);
  const source = opSources.find((text) => isHome.test(text)) ?? '';
  return [...source.matchAll(/runKernel\((\w+)/g)].map(([, constant]) => kernelNames.get(constant!) ?? constant!);
}

test('knows exactly the operators of the installed converter', () => {
  expect([...kernelsOfOp.keys()].sort()).toEqual(Object.keys(converterOps).sort());
});

test('asks for kernels that the installed tfjs-core runs for the operator', () => {
  const known = new Set(kernelNames.values());
  const unknown = [...kernelsOfOp.values()].flat().filter((kernel) => !known.has(kernel));
  let compared = 0;
  const wrong = [...kernelsOfOp].flatMap(([op, kernels]) => {
    const calls = converterOps[op]!;
    // Fused operators live in files of the same name as the plain ones; that their names exist is checked above.
    const run = calls.length === 1 && !calls[0]!.startsWith('fused.') ? kernelsRunBy(calls[0]!) : [];
    if (run.length === 0) return [];
    compared++;
    return kernels.filter((kernel) => !run.includes(kernel)).map((kernel) => `${op}: ${kernel}`);
  });

  expect(unknown).toEqual([]);
  expect(wrong).toEqual([]);
  expect(compared).toBeGreaterThan(100);
});

test('lists each operator without a kernel once, with its nodes and the backend', () => {
  const nodes = [
    { name: 'tower/a', op: 'Relu' },
    { name: 'b', op: 'Unheard' },
    { name: 'c', op: 'Relu' },
    { name: 'd', op: 'MatMul' },
    { name: 'e', op: 'Conv2D', attr: { T: { type: 'DT_STRING' } } },
    { name: 'f', op: 'MatMul' },
    { name: 'g', op: 'Concat', attr: { T: { type: 7 } } },
  ];

  const problems = unsupportedOps(nodes, { name: 'wasm', hasKernel: (kernel) => kernel !== 'Relu' && kernel !== 'BatchMatMul' });

  expect(problems).toEqual([
    'operator Relu (2 nodes, first "tower/a") has no kernel on wasm',
    'operator Unheard (node "b") is unknown to TensorFlow.js',
    'operator MatMul (2 nodes, first "d") has no kernel BatchMatMul on wasm',
    'operator Conv2D (node "e") does not take strings in TensorFlow.js',
    'operator Concat (node "g") does not take strings in TensorFlow.js',
  ]);
});

test('control flow and outputs of unknown size need the asynchronous executor', () => {
  expect(needsAsyncExecutor([{ name: 'a', op: 'Relu' }])).toBe(false);
  expect(needsAsyncExecutor([{ name: 'a', op: 'While' }])).toBe(true);
  expect(needsAsyncExecutor([{ name: 'a', op: 'NonMaxSuppressionV5' }])).toBe(true);
});
