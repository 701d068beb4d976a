import type { Command } from 'commander';
import * as v from 'valibot';
import { NearfarError } from '../core/index.ts';
import { type CommandContext, runCommand } from './command.ts';

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
  program
    .command('status')
    .description('show the models, versions and states of a running server')
    .option('--url <url>', 'HTTP address of the server', 'http://localhost:8501')
    .option('--json', 'print the result as JSON')
    .action((flags: { readonly url: string; readonly json?: boolean }) =>
      runCommand(flags, (context) => fetchStatus(context, flags.url), printStatus),
    );
}

async function fetchStatus({ signal }: CommandContext, url: string): Promise<ServerStatus> {
  const address = new URL('/nearfar/v1/models', url);
  const response = await fetch(address, { signal }).catch((cause: unknown) => {
    if (signal.aborted) throw signal.reason;
    const reason = cause instanceof Error ? (cause.cause instanceof Error ? cause.cause.message : cause.message) : cause;
    throw new NearfarError('network', `no server answers at ${address.origin}: ${reason}`, { cause });
  });
  if (!response.ok) throw new NearfarError('network', `${address} answered ${response.status} ${response.statusText}`);
  const parsed = v.safeParse(statusSchema, await response.json().catch(() => undefined));
  if (parsed.success) return parsed.output;
  throw new NearfarError('network', `${address} is no nearfar server: ${parsed.issues[0].message}`);
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

function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
