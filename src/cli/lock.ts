import type { Command } from 'commander';
import { encodeLockFile, type LockFile } from '../core/index.ts';
import { connectRepository, createLock, replaceFile } from '../publish/index.ts';
import { runCommand } from './command.ts';
import { parseModelChoice } from './parse-option.ts';

interface LockFlags {
  readonly models: string;
  readonly out: string;
  readonly json?: boolean;
}

export function addLock(program: Command): void {
  program
    .command('lock')
    .description("pin an application's models to exact versions and digests")
    .argument('<model...>', 'name, name@version or name@label; without one: stable, else the highest')
    .requiredOption('--models <repository>', 'folder or URL of the model repository')
    .option('--out <file>', 'the lock file to write', 'nearfar.lock.json')
    .option('--json', 'print the result as JSON')
    .action((names: string[], flags: LockFlags) => runCommand(flags, () => lockModels(flags, names), printLock));
}

async function lockModels({ models, out }: LockFlags, names: string[]): Promise<LockFile> {
  const lock = await createLock(connectRepository(models), names.map(parseModelChoice));
  await replaceFile(out, encodeLockFile(lock));
  return lock;
}

function printLock({ models }: LockFile): string {
  return Object.entries(models)
    .map(([name, { version, digest }]) => `${name} version ${version} ${digest}`)
    .join('\n');
}
