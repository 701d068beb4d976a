import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { repositoryRoot } from '../support/packed.ts';
import { examples } from './examples.ts';

/** What an example may use without saying where it comes from. */
const context = `
import type { Client, Model, Tensor } from 'nearfar';
declare global {
  const photo: Blob;
  const tensor: Tensor;
  const client: Client;
  const model: Model;
  const signal: AbortSignal;
  const controller: AbortController;
}
`;

const compilerOptions: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  types: ['vite/client', 'node'],
  jsx: ts.JsxEmit.ReactJSX,
  strict: true,
  exactOptionalPropertyTypes: true,
  resolveJsonModule: true,
  skipLibCheck: true,
  noEmit: true,
};

test('the TypeScript of README and docs compiles against the built package', async () => {
  await build();
  const found = examples('ts', 'tsx');
  mkdirSync(join(repositoryRoot, 'tmp'), { recursive: true });
  // Inside the repository, so that the package finds itself by its own name, through its exports.
  const folder = mkdtempSync(join(repositoryRoot, 'tmp/examples-'));
  try {
    writeFileSync(join(folder, 'context.d.ts'), context);
    const digest = `sha256:${'0'.repeat(64)}`;
    const lock = { lockfileVersion: 1, models: { everyday10: { version: '1', digest } } };
    writeFileSync(join(folder, 'nearfar.lock.json'), JSON.stringify(lock));
    const names = new Map(found.map((example, index) => [join(folder, `example${index}.${example.language}`), example]));
    for (const [path, { code }] of names) writeFileSync(path, `${code}\nexport {};\n`);

    const program = ts.createProgram([join(folder, 'context.d.ts'), ...names.keys()], compilerOptions);
    const problems = ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
      const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line + 1;
      const where = names.get(file?.fileName ?? '')?.name ?? file?.fileName ?? 'the program';
      return `${where}, line ${line} of the example: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });

    expect(found.length).toBeGreaterThan(0);
    expect(problems).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
