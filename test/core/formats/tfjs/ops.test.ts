import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { customTfjsOps } from '../../../../src/core/formats/tfjs/custom-ops.ts';
import { tfjsOps } from '../../../../src/core/formats/tfjs/ops.ts';

const folder = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-converter/package.json'));

test('knows exactly the operators that the built converter maps', () => {
  const built = readFileSync(join(folder, 'dist/tf-converter.node.js'), 'utf8');
  const mapped = [...built.matchAll(/["']?tfOpName["']?:\s*["']([^"']+)["']/g)].map(([, op]) => op!);

  expect([...tfjsOps].sort()).toEqual([...new Set(mapped)].sort());
});

test('custom operators are none of its own', () => {
  expect([...customTfjsOps.keys()].filter((op) => tfjsOps.has(op))).toEqual([]);
});
