import type { Command } from 'commander';
import * as v from 'valibot';
import { NearfarError } from '../core/index.ts';
import { askServer } from './ask-server.ts';
import { type CommandContext, runCommand } from './command.ts';
import { addServerOptions, type ServerFlags } from './server-options.ts';
import { formatTable } from './table.ts';

/** Of the JSON form of a ModelConfig what is shown; with --json all of it. */
const modelSchema = v.looseObject({
  name: v.string(),
  base_path: v.string(),
  model_version_policy: v.optional(v.record(v.string(), v.unknown())),
  version_labels: v.optional(v.record(v.string(), v.string())),
  /** All labels, also those of versions.json; in answers about labels. */
  labels: v.optional(v.record(v.string(), v.string())),
});
const modelsSchema = v.object({ model_config_list: v.object({ config: v.array(modelSchema) }) });

type ModelConfig = v.InferOutput<typeof modelSchema>;

/** What is configured on a running server, and the commands that change it. */
export function addModelCommands(program: Command): void {
  const command = (usage: string, description: string) => addServerOptions(program.command(usage).description(description));
  const ask = (flags: ServerFlags, { signal }: CommandContext, method: 'PUT' | 'POST', path: string, body?: object) =>
    askServer({ url: flags.url, path, method, body, answer: modelSchema, signal });
  const remove = (flags: ServerFlags, { signal }: CommandContext, path: string) =>
    askServer({ url: flags.url, path, method: 'DELETE', answer: v.object({}), signal });

  command('models', 'show what is configured on a running server: folders, version policies, labels').action((flags: ServerFlags) =>
    runCommand(
      flags,
      async ({ signal }) => {
        const { model_config_list } = await askServer({ url: flags.url, path: 'config', answer: modelsSchema, signal });
        return { models: model_config_list.config };
      },
      ({ models }) => (models.length === 0 ? 'no model is configured by name' : printModels(models)),
    ),
  );
  command(
    'label <model> <label> [version]',
    'point a label at a version, which is loaded if it is not; without a version: take it away',
  ).action((model: string, label: string, version: string | undefined, flags: ServerFlags) => {
    const path = `${pathOf(model)}/labels/${encodeURIComponent(label)}`;
    if (version === undefined)
      return runCommand(
        flags,
        (context) => remove(flags, context, path),
        () => `${model}: no label ${label}`,
      );
    return runCommand(
      flags,
      (context) => ask(flags, context, 'PUT', path, { version }),
      () => `${model}: ${label} is version ${version}`,
    );
  });
  command('rollback <model> [label]', 'point a label at the version that it had before')
    .addHelpText('after', '\nThe label is stable where none is named. A second rollback undoes the first.')
    .action((model: string, label = 'stable', flags: ServerFlags) =>
      runCommand(
        flags,
        (context) => ask(flags, context, 'POST', `${pathOf(model)}/labels/${encodeURIComponent(label)}/rollback`),
        ({ labels }) => `${model}: ${label} is version ${labels?.[label]}`,
      ),
    );
  command(
    'traffic <model> [shares...]',
    'share clients out among versions: stable=90 canary=10, in percent by label; without shares: show them',
  )
    .option('--none', 'share them out no more')
    .action((model: string, shares: readonly string[], flags: ServerFlags & { readonly none?: boolean }) =>
      runCommand(
        flags,
        async ({ signal }) => {
          if (shares.length > 0 && flags.none) throw new NearfarError('invalid-argument', 'expected shares or --none, not both');
          if (shares.length === 0 && !flags.none) {
            const { models } = await askServer({ url: flags.url, path: 'models', answer: sharedSchema, signal });
            const found = models.find(({ name }) => name === model);
            if (found) return { traffic: found.traffic };
            throw new NearfarError('not-found', `Could not find any versions of model ${model}`, { details: { name: model } });
          }
          const path = `${pathOf(model)}/traffic`;
          return askServer({ url: flags.url, path, method: 'PUT', body: parseShares(shares), answer: trafficSchema, signal });
        },
        ({ traffic }) => printShares(model, traffic),
      ),
    );
  command('load <model> <version>', 'load a version beside those that are loaded').action(
    (model: string, version: string, flags: ServerFlags) =>
      runCommand(
        flags,
        (context) => ask(flags, context, 'PUT', versionPath(model, version)),
        () => `${model}: version ${version} is loaded`,
      ),
  );
  command('unload <model> <version>', 'unload a version').action((model: string, version: string, flags: ServerFlags) =>
    runCommand(
      flags,
      (context) => remove(flags, context, versionPath(model, version)),
      () => `${model}: version ${version} is not wanted any more`,
    ),
  );
}

const trafficSchema = v.object({ traffic: v.record(v.string(), v.number()) });
const sharedSchema = v.object({
  models: v.array(v.object({ name: v.string(), traffic: v.optional(v.record(v.string(), v.number()), {}) })),
});

/** @throws {NearfarError} `invalid-argument`. */
function parseShares(shares: readonly string[]): Readonly<Record<string, number>> {
  return Object.fromEntries(
    shares.map((share) => {
      const [, label, percent] = /^([^=]+)=(\d+(?:\.\d+)?)$/.exec(share) ?? [];
      if (label !== undefined && percent !== undefined) return [label, Number(percent)];
      throw new NearfarError('invalid-argument', `expected label=percent such as canary=10, got ${share}`, { details: { got: share } });
    }),
  );
}

function printShares(model: string, traffic: Readonly<Record<string, number>>): string {
  const shares = Object.entries(traffic).map(([label, percent]) => `${label} ${percent} %`);
  return `${model}: ${shares.length === 0 ? 'all clients get the same version' : shares.join(', ')}`;
}

function pathOf(model: string): string {
  return `models/${encodeURIComponent(model)}`;
}

function versionPath(model: string, version: string): string {
  return `${pathOf(model)}/versions/${encodeURIComponent(version)}`;
}

function printModels(models: readonly ModelConfig[]): string {
  const rows = models.map(({ name, base_path, model_version_policy = {}, version_labels = {} }) => [
    name,
    JSON.stringify(model_version_policy).replace(/["{}]/g, ' ').trim(),
    Object.entries(version_labels)
      .map(([label, version]) => `${label}=${version}`)
      .join(','),
    base_path,
  ]);
  return formatTable([['MODEL', 'POLICY', 'LABELS', 'FOLDER'], ...rows]);
}
