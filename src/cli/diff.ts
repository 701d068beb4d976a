import type { Command } from 'commander';
import { type Changes, connectRepository, diffVersions, type VersionDiff } from '../publish/index.ts';
import { runCommand } from './command.ts';
import { parseModelChoice } from './parse-option.ts';

interface DiffFlags {
  readonly models: string;
  readonly json?: boolean;
}

export function addDiff(program: Command): void {
  program
    .command('diff')
    .description('say what changed between two versions, and what a client that has the first fetches of the second')
    .argument('<from>', 'name@version or name@label')
    .argument('<to>', 'name@version or name@label')
    .requiredOption('--models <repository>', 'folder or URL of the model repository')
    .option('--json', 'print the result as JSON')
    .action((from: string, to: string, { models, ...flags }: DiffFlags) =>
      runCommand(flags, () => diffVersions(connectRepository(models), parseModelChoice(from), parseModelChoice(to)), printDiff),
    );
}

function printDiff({ from, to, signatures, variants, common }: VersionDiff): string {
  return [
    `${from.name} version ${from.pin.version} ${from.pin.digest}`,
    `${to.name} version ${to.pin.version} ${to.pin.digest}`,
    `  signatures: ${printChanges(signatures)}`,
    `  variants: ${printChanges({ ...variants, changed: [] })}`,
    ...common.flatMap(({ variant, fetchBytes, totalBytes, chunks, tensors, changedTensorBytes }) => [
      `  variant ${variant}: a client fetches ${fetchBytes} of ${totalBytes} bytes (${chunks.fetched} of ${chunks.total} chunks)`,
      `    weights: ${printChanges(tensors)}, ${changedTensorBytes} bytes`,
    ]),
  ].join('\n');
}

/** At most this many names of a kind are spelled out. */
const MAX_NAMES = 5;

function printChanges(changes: Changes): string {
  const parts = (['added', 'removed', 'changed'] as const).flatMap((kind) => {
    const names = changes[kind];
    if (names.length === 0) return [];
    const rest = names.length > MAX_NAMES ? `, and ${names.length - MAX_NAMES} more` : '';
    return [`${names.length} ${kind} (${names.slice(0, MAX_NAMES).join(', ')}${rest})`];
  });
  return parts.length > 0 ? parts.join(', ') : 'the same';
}
