import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { repositoryRoot, runCommand } from '../support/packed.ts';
import { examples } from './examples.ts';

beforeAll(async () => {
  await build();
});

/** The commands of the shell examples, continued lines joined. */
const commands = examples('sh', 'bash', 'shell').flatMap(({ name, code }) =>
  code
    .replaceAll('\\\n', ' ')
    .split(/\n|&&/)
    .map((command) => ({ name, command: command.replace(/#.*/, '').trim() }))
    .filter(({ command }) => command !== ''),
);

test('every npm script that README and docs name is there', () => {
  const { scripts } = JSON.parse(readFileSync(join(repositoryRoot, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

  const named = commands.flatMap(({ command }) => /^npm (?:run )?(test|start|[\w:]+)/.exec(command)?.[1] ?? []);
  const missing = named.filter((script) => !['install', 'i', 'ci'].includes(script) && !(script in scripts));

  expect(named).toEqual(expect.arrayContaining(['test', 'start']));
  expect(missing).toEqual([]);
});

test('every nearfar command that README and docs show exists, with the options they use', async () => {
  const shown = commands.filter(({ command }) => /^(npx )?nearfar /.test(command));
  const problems: string[] = [];
  const helps = new Map<string, ReturnType<typeof runCommand>>();
  const helpOf = (subCommand: string) => {
    const help = helps.get(subCommand) ?? runCommand(process.execPath, ['dist/cli/main.js', ...subCommand.split(' '), '--help']);
    helps.set(subCommand, help);
    return help;
  };
  for (const { name, command } of shown) {
    const [first = '', ...rest] = command.replace(/^(npx )?nearfar /, '').split(/\s+/);
    // These have commands of their own.
    const subCommand = ['rollout', 'keys'].includes(first) ? `${first} ${rest[0]}` : first;
    const help = await helpOf(subCommand);
    if (help.status !== 0) problems.push(`${name}: nearfar ${subCommand} is not a command`);
    for (const option of rest.flatMap((word) => /^--[\w-]+/.exec(word)?.[0] ?? [])) {
      if (!help.stdout.includes(option)) problems.push(`${name}: nearfar ${subCommand} has no ${option}`);
    }
  }

  expect(shown.length).toBeGreaterThan(0);
  expect(problems).toEqual([]);
});
