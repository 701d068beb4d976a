import type { Command } from 'commander';
import * as v from 'valibot';
import { askServer } from './ask-server.ts';
import { runCommand } from './command.ts';
import { addServerOptions, type ServerFlags } from './server-options.ts';
import { formatTable } from './table.ts';

const statusSchema = v.object({
  models: v.array(
    v.object({
      name: v.string(),
      labels: v.record(v.string(), v.string()),
      versions: v.array(
        v.object({
          version: v.string(),
          state: v.string(),
          digest: v.optional(v.string()),
          labels: v.array(v.string()),
          backend: v.optional(v.string()),
          variant: v.optional(v.string()),
          error: v.optional(v.string()),
        }),
      ),
    }),
  ),
});

type ServerStatus = v.InferOutput<typeof statusSchema>;

export function addStatus(program: Command): void {
  addServerOptions(program.command('status').description('show the models, versions and states of a running server')).action(
    (flags: ServerFlags) =>
      runCommand(flags, ({ signal }) => askServer({ url: flags.url, path: 'models', answer: statusSchema, signal }), printStatus),
  );
}

function printStatus({ models }: ServerStatus): string {
  const rows = models.flatMap(({ name, versions }) =>
    versions.length === 0
      ? [[name, '-', 'no version', '', '', '', '']]
      : versions.map(({ version, state, labels, backend = '', digest = '', error = '' }) => {
          return [name, version, state, labels.join(','), backend, digest.slice(0, 'sha256:'.length + 12), error];
        }),
  );
  if (rows.length === 0) return 'the server has no models';
  return formatTable([['MODEL', 'VERSION', 'STATE', 'LABELS', 'BACKEND', 'DIGEST', 'ERROR'], ...rows]);
}
