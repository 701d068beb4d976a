import type { Command } from 'commander';
import { NearfarError } from '../core/index.ts';
import type { ApiKey, Role } from '../server/index.ts';
import { runCommand } from './command.ts';
import { collect, parseCount, parseRole } from './parse-option.ts';
import { formatTable } from './table.ts';

interface KeysFlags {
  readonly file: string;
  readonly json?: boolean;
}

interface CreateFlags extends KeysFlags {
  readonly role: readonly Role[];
  readonly model?: readonly string[];
  readonly rateLimit?: number;
  readonly dailyQuota?: number;
  readonly expires?: string;
}

/** Of a key what may be told. */
type ToldKey = Omit<ApiKey, 'sha256'>;

const defaultFile = 'nearfar-keys.json';

/** The file of API keys that `nearfar serve --api_keys_file` takes; a running server follows it within a second. */
export function addKeys(program: Command): void {
  const keys = program.command('keys').description('make, list and take back the API keys of a server');
  const command = (usage: string, description: string) =>
    keys
      .command(usage)
      .description(description)
      .option('--file <path>', 'the file of --api_keys_file', defaultFile)
      .option('--json', 'print the result as JSON');

  command('create <name>', 'make a key, which is shown this once: the file holds its hash alone')
    .requiredOption('--role <role>', 'predict, read, operate or admin; may be given several times', (role: string, before?: Role[]) => [
      ...(before ?? []),
      parseRole(role),
    ])
    .option('--model <name>', 'the only model that it may ask for; may be given several times', collect)
    .option('--rate-limit <count>', 'predictions a second', parseCount)
    .option('--daily-quota <count>', 'predictions a day, in UTC', parseCount)
    .option('--expires <date>', 'the end of it, such as 2027-01-31 or 2027-01-31T12:00:00Z')
    .action((name: string, flags: CreateFlags) =>
      runCommand(
        flags,
        async () => {
          const { changeApiKeys, createApiKey } = await import('../server/index.ts');
          const { key, stored } = createApiKey({
            name,
            roles: flags.role,
            models: flags.model,
            rateLimit: flags.rateLimit,
            dailyQuota: flags.dailyQuota,
            expiresAt: flags.expires === undefined ? undefined : dateOf(flags.expires),
          });
          await changeApiKeys(flags.file, (before) => {
            if (before.every((other) => other.name !== name)) return [...before, stored];
            throw new NearfarError('already-exists', `${flags.file} has a key ${name} already`, { details: { name } });
          });
          return { key, ...told(stored) };
        },
        ({ key }) => key,
      ),
    );
  command('list', 'show the keys of a file, without their secrets').action((flags: KeysFlags) =>
    runCommand(
      flags,
      async () => {
        const { readApiKeys } = await import('../server/index.ts');
        return { keys: readApiKeys(flags.file).map(told) };
      },
      printKeys,
    ),
  );
  command('revoke <name>', 'take a key back').action((name: string, flags: KeysFlags) =>
    runCommand(
      flags,
      async () => {
        const { changeApiKeys } = await import('../server/index.ts');
        await changeApiKeys(flags.file, (before) => {
          const after = before.filter((key) => key.name !== name);
          if (after.length < before.length) return after;
          throw new NearfarError('not-found', `${flags.file} has no key ${name}`, { details: { name } });
        });
        return { revoked: name };
      },
      ({ revoked }) => `${revoked} is taken back; running servers refuse it within a second`,
    ),
  );
}

function told({ sha256: _, ...key }: ApiKey): ToldKey {
  return key;
}

function dateOf(text: string): string {
  const date = new Date(text);
  if (!Number.isNaN(date.getTime())) return date.toISOString();
  throw new NearfarError('invalid-argument', `--expires expects a date such as 2027-01-31, got ${text}`, { details: { got: text } });
}

function printKeys({ keys }: { readonly keys: readonly ToldKey[] }): string {
  if (keys.length === 0) return 'no keys';
  const rows = keys.map(({ name, id, roles, models, rateLimit, dailyQuota, createdAt, expiresAt }) => [
    name,
    `nfk_${id}_…`,
    roles.join(', '),
    models?.join(', ') ?? 'all',
    [rateLimit === undefined ? '' : `${rateLimit}/s`, dailyQuota === undefined ? '' : `${dailyQuota}/day`].filter(Boolean).join(' ') ||
      'none',
    createdAt,
    expiresAt ?? 'never',
  ]);
  return formatTable([['NAME', 'KEY', 'ROLES', 'MODELS', 'LIMITS', 'CREATED', 'EXPIRES'], ...rows]);
}
