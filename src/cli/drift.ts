import type { Command } from 'commander';
import * as v from 'valibot';
import { askServer } from './ask-server.ts';
import { runCommand } from './command.ts';
import { addServerOptions, type ServerFlags } from './server-options.ts';
import { formatTable } from './table.ts';

const answers = v.looseObject({ kind: v.string(), rows: v.number() });

const driftSchema = v.object({
  model: v.string(),
  samplingRate: v.number(),
  outputs: v.array(
    v.looseObject({
      version: v.string(),
      signature: v.string(),
      output: v.string(),
      rows: v.number(),
      present: v.nullable(answers),
      reference: v.nullable(v.looseObject({ ...answers.entries, version: v.string(), source: v.string() })),
      distances: v.array(v.object({ of: v.string(), measure: v.string(), value: v.number(), isLarge: v.boolean() })),
    }),
  ),
});

const baselineSchema = v.looseObject({
  version: v.string(),
  outputs: v.array(v.object({ signature: v.string(), output: v.string(), rows: v.number() })),
});

export function addDrift(program: Command): void {
  const drift = program.command('drift').description('whether what a model answers on a running server changes');
  addServerOptions(drift.command('show <model>', { isDefault: true }).description('how far answers are from those of a reference')).action(
    (model: string, flags: ServerFlags) => {
      const path = `models/${encodeURIComponent(model)}/drift`;
      return runCommand(flags, ({ signal }) => askServer({ url: flags.url, path, answer: driftSchema, signal }), printDrift);
    },
  );
  addServerOptions(drift.command('baseline <model> <version>').description('compare later answers of a version with those of now')).action(
    (model: string, version: string, flags: ServerFlags) => {
      const path = `models/${encodeURIComponent(model)}/versions/${encodeURIComponent(version)}/baseline`;
      return runCommand(
        flags,
        ({ signal }) => askServer({ url: flags.url, path, method: 'POST', answer: baselineSchema, signal }),
        ({ outputs }) =>
          `${model} version ${version}: compared with ${outputs.map(({ output, rows }) => `${rows} rows of ${output}`).join(', ')}`,
      );
    },
  );
}

function printDrift({ model, samplingRate, outputs }: v.InferOutput<typeof driftSchema>): string {
  if (outputs.length === 0) return `no answers of ${model} were looked at${samplingRate === 0 ? ' (--drift_monitor is 0)' : ''}`;
  const rows = outputs.map(({ version, signature, output, rows: seen, present, reference, distances }) => [
    version,
    signature,
    output,
    present?.kind ?? '',
    String(seen),
    reference ? `${reference.source}, version ${reference.version}` : 'none yet',
    distances.map(({ of, measure, value, isLarge }) => `${of} ${measure} ${value.toFixed(3)}${isLarge ? '!' : ''}`).join(', '),
  ]);
  return formatTable([['VERSION', 'SIGNATURE', 'OUTPUT', 'KIND', 'ROWS', 'REFERENCE', 'DISTANCES'], ...rows]);
}
