// Writes src/core/protocol/gen/ from proto/ with buf and protoc-gen-es; run it after a change of a .proto file.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const binaries = join(root, 'node_modules/.bin');
const output = join(root, 'src/core/protocol/gen');

rmSync(output, { recursive: true, force: true });
execFileSync(join(binaries, process.platform === 'win32' ? 'buf.cmd' : 'buf'), ['generate'], {
  cwd: root,
  stdio: 'inherit',
  shell: process.platform === 'win32',
  env: { ...process.env, PATH: `${binaries}${delimiter}${process.env.PATH}` },
});
for (const entry of readdirSync(output, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const path = join(entry.parentPath, entry.name);
  writeFileSync(path, withoutEnums(readFileSync(path, 'utf8')));
}

/**
 * The project's TypeScript is erasable syntax alone, which enums are not: each becomes an object and the union of its values.
 * @param {string} source
 */
function withoutEnums(source) {
  return source.replace(/export enum (\w+) \{([\s\S]*?)\n\}/g, (_, name, members) => {
    const properties = members.replace(/^(\s+\w+) = (-?\d+),$/gm, '$1: $2,');
    return `export const ${name} = {${properties}\n} as const;\nexport type ${name} = (typeof ${name})[keyof typeof ${name}];`;
  });
}
