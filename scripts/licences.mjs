// Whether everything that users install with the package has a permissive licence; from node_modules, so that no registry is asked.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

const permissive = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  'Python-2.0',
  'Unlicense',
  'Zlib',
]);

/** Others, with the reason that they may be there. @type {readonly [RegExp, string, string][]} */
const exceptions = [
  [/^@img\/sharp-(libvips-|win32|wasm32)/, 'LGPL-3.0-or-later', 'a library of its own that is linked at run time and can be exchanged'],
];

/** @type {{ packages: Record<string, { dev?: boolean, license?: string, name?: string, version?: string }> }} */
const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
/** @type {string[]} */
const refused = [];
let checked = 0;
for (const [path, locked] of Object.entries(packages)) {
  if (path === '' || locked.dev) continue;
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const licence = licenceOf(path) ?? locked.license;
  checked++;
  if (licence !== undefined && (isPermissive(licence) || exceptions.some(([of, which]) => of.test(name) && licence.includes(which))))
    continue;
  refused.push(`${name} ${locked.version}: ${licence ?? 'no licence'}`);
}
if (refused.length > 0) console.error(`licences that are not known to be permissive:\n${refused.join('\n')}`);
else console.log(`${checked} packages, all permissive`);
process.exitCode = refused.length > 0 ? 1 : 0;

/** Of the installed package; undefined where it is not installed here, as those of other platforms are not. @param {string} path */
function licenceOf(path) {
  const file = join(root, path, 'package.json');
  if (!existsSync(file)) return undefined;
  /** @type {{ license?: string | { type?: string }, licenses?: { type?: string }[] }} */
  const { license, licenses } = JSON.parse(readFileSync(file, 'utf8'));
  return typeof license === 'string' ? license : (license?.type ?? licenses?.map(({ type }) => type).join(' OR '));
}

/** `(MIT OR GPL-2.0)` is by one of them, `A AND B` by both. @param {string} licence */
function isPermissive(licence) {
  return licence
    .replace(/[()]/g, '')
    .split(' OR ')
    .some((choice) => choice.split(' AND ').every((each) => permissive.has(each.trim())));
}
