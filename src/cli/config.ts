import type { Command } from 'commander';
import { type ModelConfig, replaceFile, scanModels, writeModelConfigList } from '../publish/index.ts';
import { runCommand } from './command.ts';

interface ConfigFlags {
  readonly out?: string;
  readonly json?: boolean;
}

export function addConfig(program: Command): void {
  program
    .command('config')
    .description('scan a folder of models and write a model_config_list for --model_config_file')
    .argument('<folder>', 'holds a folder per model, which holds a folder per version')
    .option('--out <file>', 'the file to write (default: print it)')
    .option('--json', 'print the models as JSON')
    .action((folder: string, flags: ConfigFlags) => runCommand(flags, () => configure(folder, flags), printConfig));
}

interface Configured {
  readonly models: readonly ModelConfig[];
  readonly out: string | undefined;
}

async function configure(folder: string, { out }: ConfigFlags): Promise<Configured> {
  const models = await scanModels(folder);
  if (out !== undefined) await replaceFile(out, new TextEncoder().encode(writeModelConfigList(models)));
  return { models, out };
}

function printConfig({ models, out }: Configured): string {
  if (out === undefined) return writeModelConfigList(models).trimEnd();
  return [
    `${out}: ${models.length} ${models.length === 1 ? 'model' : 'models'}`,
    ...models.map(({ name, platform }) => `  ${name} (${platform})`),
  ].join('\n');
}
