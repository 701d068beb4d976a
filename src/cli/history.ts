import type { Command } from 'commander';
import * as v from 'valibot';
import { askServer } from './ask-server.ts';
import { runCommand } from './command.ts';
import { parseCount } from './parse-option.ts';
import { addServerOptions, type ServerFlags } from './server-options.ts';
import { formatTable } from './table.ts';

/** One change, with whatever a later server says of it beside. */
export const historyEntrySchema = v.looseObject({
  id: v.number(),
  at: v.string(),
  server: v.string(),
  who: v.string(),
  way: v.string(),
  action: v.string(),
  model: v.string(),
  version: v.optional(v.string()),
  from: v.optional(v.record(v.string(), v.unknown())),
  to: v.optional(v.record(v.string(), v.unknown())),
  outcome: v.string(),
  message: v.optional(v.string()),
});

const historySchema = v.object({ entries: v.array(historyEntrySchema) });

interface HistoryFlags extends ServerFlags {
  readonly limit: number;
  readonly before?: number;
}

export function addHistory(program: Command): void {
  addServerOptions(program.command('history [model]').description('show what was changed on a running server, and by whom, newest first'))
    .option('--limit <count>', 'at most so many entries', parseCount, 20)
    .option('--before <id>', 'only entries older than the one with this id', parseCount)
    .action((model: string | undefined, flags: HistoryFlags) => {
      const query = new URLSearchParams({ limit: String(flags.limit) });
      if (model !== undefined) query.set('model', model);
      if (flags.before !== undefined) query.set('before', String(flags.before));
      const path = `history?${query}`;
      return runCommand(flags, ({ signal }) => askServer({ url: flags.url, path, answer: historySchema, signal }), printHistory);
    });
}

function printHistory({ entries }: v.InferOutput<typeof historySchema>): string {
  if (entries.length === 0) return 'nothing was changed';
  const rows = entries.map(({ id, at, who, way, action, model, version = '', from, to, outcome, message }) => {
    const change = [from, to].map((settings) => (settings ? JSON.stringify(settings) : '')).join(' → ');
    return [String(id), at, who === way ? who : `${who} (${way})`, action, model, version, outcome, message ?? change.replace(/^ → /, '')];
  });
  return formatTable([['ID', 'AT', 'WHO', 'ACTION', 'MODEL', 'VERSION', 'OUTCOME', 'CHANGE'], ...rows]);
}
