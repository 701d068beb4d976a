import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { NearfarError } from '../core/index.ts';
import { connectRepository, findStrays, openAllEngines, readVersions, type VerifyReport, verify } from '../publish/index.ts';
import { type CommandContext, runCommand } from './command.ts';
import { collect, parseModelChoice } from './parse-option.ts';
import { openProgress } from './progress.ts';

interface VerifyFlags {
  readonly models: string;
  readonly trust?: string[];
  readonly allowSoftwareAdapter?: boolean;
  readonly json?: boolean;
}

interface Verification {
  readonly versions: readonly VerifyReport[];
  /** Entries of the model's folder that are no published version. */
  readonly strays: readonly string[];
}

export function addVerify(program: Command): void {
  program
    .command('verify')
    .description('check every byte of a published model, and its answers on this machine')
    .argument('<model>', 'a name for all its versions, or name@version')
    .requiredOption('--models <repository>', 'folder, URL or s3://bucket/prefix of the model repository')
    .option('--allow-software-adapter', 'try the GPU backends also on a GPU that is made of software')
    .option('--trust <key.pem>', 'public key that must have signed each version; may be repeated', collect)
    .option('--json', 'print the result as JSON')
    .action((model: string, flags: VerifyFlags) => runCommand(flags, (context) => verifyModel(context, flags, model), printVerification));
}

async function verifyModel(
  { json, signal }: CommandContext,
  { models, trust = [], allowSoftwareAdapter }: VerifyFlags,
  model: string,
): Promise<Verification> {
  using progress = openProgress(json);
  const { name, version, label } = parseModelChoice(model);
  const published = await readVersions(connectRepository(models), name);
  const labelled = label === undefined ? undefined : (published.labels[label] ?? label);
  const wanted = version ?? labelled;
  const keys = await Promise.all(trust.map(readKey));
  const openEngine = await openAllEngines({ allowSoftwareAdapter });
  const reports: VerifyReport[] = [];
  for (const number of wanted === undefined ? published.versions.map((entry) => entry.version) : [wanted]) {
    const onProgress = (bytes: number, total: number) => progress.update(bytes, total, `version ${number}`);
    reports.push(await verify(models, name, number, { signal, onProgress, trust: keys, openEngine, backends: 'all' }));
  }
  return { versions: reports, strays: /^(https?|s3):/.test(models) ? [] : await findStrays(models, name) };
}

async function readKey(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new NearfarError('not-found', `cannot read the key ${file}`, { cause, details: { file } });
  }
}

function printVerification({ versions, strays }: Verification): string {
  const lines = versions.flatMap(({ name, pin, files, chunks, bytes, checks }) => [
    `${name} version ${pin.version} ${pin.digest}: ${files} files, ${chunks} chunks, ${bytes} bytes are right`,
    ...checks.map(({ variant, backend, agreement, skipped }) =>
      skipped
        ? `  ${variant} on ${backend}: not tried (${skipped.message})`
        : `  ${variant} on ${backend}: within ${agreement?.absolute.toExponential(1)}`,
    ),
  ]);
  return [...lines, ...strays.map((stray) => `not a published version: ${stray}`)].join('\n');
}
