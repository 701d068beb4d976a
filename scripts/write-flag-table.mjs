// Writes the table of docs/serving-flags.md from the flags of the server, as built; `--print` prints it instead.
import { readFileSync, writeFileSync } from 'node:fs';
import { describeFlags } from '../dist/server/index.js';

const file = new URL('../docs/serving-flags.md', import.meta.url);
const rows = (/** @type {boolean} */ isOurs) =>
  describeFlags()
    .filter((described) => described.isOurs === isOurs)
    .map(({ name, flag }) => `| \`${name}\` | ${flag.kind} | ${flag.treatment} | ${flag.help.replaceAll('|', '\\|')} |`);
const table = [
  '| Flag of TensorFlow Serving | | | |',
  '|---|---|---|---|',
  ...rows(false),
  '',
  '| Our own | | | |',
  '|---|---|---|---|',
  ...rows(true),
].join('\n');

if (process.argv.includes('--print')) console.log(table);
else {
  const text = readFileSync(file, 'utf8');
  writeFileSync(
    file,
    text.replace(/(<!-- flags: .*-->\n)[\s\S]*?(<!-- \/flags -->)/, (_, start, end) => `${start}\n${table}\n\n${end}`),
  );
}
