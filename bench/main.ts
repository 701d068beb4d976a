import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { benchBatching } from './batching.ts';
import { benchCache, benchServingTable } from './cache.ts';
import { benchClassify } from './classify.ts';
import { benchDownload } from './download.ts';
import { benchFirstAnswer } from './first-answer.ts';
import { benchImporter } from './importer.ts';
import type { Bench, Comparison } from './measure.ts';
import { benchMemory } from './memory.ts';
import { benchScaleOut } from './scale-out.ts';
import { benchServer, serverCases } from './server.ts';
import { benchStores } from './stores.ts';
import { benchSwaps } from './swaps.ts';
import { formatComparison, formatTable } from './table.ts';
import { benchTransformers } from './transformers.ts';
import { benchUpdate } from './update.ts';
import { benchWarmOpen } from './warm-open.ts';

const benches: Readonly<Record<string, Bench>> = {
  'first-answer': benchFirstAnswer,
  'warm-open': benchWarmOpen,
  transformers: benchTransformers,
  classify: benchClassify,
  download: benchDownload,
  update: benchUpdate,
  memory: benchMemory,
  server: benchServer,
  batching: benchBatching,
  cache: benchCache,
  'serving-table': benchServingTable,
  stores: benchStores,
  swaps: benchSwaps,
  'scale-out': benchScaleOut,
  importer: benchImporter,
};

const usage = `npm run bench -- [--only NAME] [--case NAME] [--pairs N] [--json FILE]

  --only NAME   one of ${Object.keys(benches).join(', ')}; may be repeated
  --case NAME   of the server's bench: ${serverCases.join(', ')}; may be repeated
  --pairs N     measurements of each side, in place of each bench's own number
  --json FILE   writes every sample there, too`;

/** Far more than all benches take on two cores: something hangs. */
const limitMs = 15 * 60_000;

/** Runs the benches one after the other, alone on the machine if possible. @returns the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      only: { type: 'string', multiple: true },
      case: { type: 'string', multiple: true },
      pairs: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const names = values.only ?? Object.keys(benches);
  const parts = values.case ?? [];
  const unknown = [...names.filter((name) => !Object.hasOwn(benches, name)), ...parts.filter((part) => !serverCases.includes(part))];
  const pairs = values.pairs === undefined ? undefined : Number(values.pairs);
  if (unknown.length > 0 || (pairs !== undefined && !(pairs >= 1))) {
    console.error(unknown.length > 0 ? `no such bench: ${unknown.join(', ')}\n${usage}` : usage);
    return 2;
  }

  const machine = { cores: availableParallelism(), cpu: cpus()[0]?.model ?? 'unknown', node: process.version, loadBefore: loadavg()[0] };
  console.log(`${machine.cores} cores (${machine.cpu}), Node ${machine.node}, load ${machine.loadBefore?.toFixed(1)} before the start`);
  const startedAt = performance.now();
  const comparisons: Comparison[] = [];
  for (const name of names) {
    console.log(`\n${name}`);
    await benches[name]?.({
      pairs,
      wants: (part) => parts.length === 0 || parts.includes(part),
      report: (comparison) => {
        comparisons.push(comparison);
        console.log(formatComparison(comparison));
      },
    });
  }
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(`\n${formatTable(comparisons)}\n\n${seconds.toFixed(0)} s; load ${loadavg()[0]?.toFixed(1)} at the end`);
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify({ machine, seconds, comparisons }, null, 2)}\n`);
  // A bar that is missed on a busy machine says little: the table tells, the exit code does not.
  return 0;
}

setTimeout(() => {
  console.error(`not done after ${limitMs / 60_000} minutes`);
  process.exit(1); // browsers and child processes end with this one
}, limitMs).unref();
process.exitCode = await main(process.argv.slice(2));
