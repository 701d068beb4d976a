import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { decodeSafetensors, NearfarError } from '../core/index.ts';
import { type ImageClassificationOptions, type PublishReport, type PublishStep, publish } from '../publish/index.ts';
import { type CommandContext, runCommand } from './command.ts';
import {
  type Binding,
  collect,
  collectBindings,
  collectPairs,
  parseChannels,
  parseCount,
  parseNumber,
  parseSize,
  parseTolerance,
} from './parse-option.ts';
import { openProgress } from './progress.ts';

interface PublishFlags {
  readonly name: string;
  readonly out: string;
  readonly version?: string;
  readonly label?: string[];
  readonly license?: string;
  readonly description?: string;
  readonly rename?: Record<string, string>;
  readonly bind?: Record<string, Binding>;
  readonly tolerance?: { absolute: number; relative: number };
  readonly goldenInputs?: string[];
  readonly task?: 'image-classification';
  readonly labels?: string;
  readonly preprocessor?: string;
  readonly input?: string;
  readonly output?: string;
  readonly activation?: 'none' | 'softmax' | 'sigmoid';
  readonly shorterSide?: number;
  readonly crop?: [number, number];
  readonly scale?: number;
  readonly mean?: [number, number, number];
  readonly std?: [number, number, number];
  readonly sign?: string;
  readonly json?: boolean;
}

export function addPublish(program: Command): void {
  program
    .command('publish')
    .description('publish model files as one immutable version: TensorFlow.js GraphModels and ONNX files')
    .argument('<source...>', 'an .onnx file, a model.json, or a folder that holds one of them')
    .requiredOption('--name <model>', 'name of the model')
    .requiredOption('--out <repository>', 'folder of the model repository')
    .option('--version <number>', 'version number (default: the next free one)')
    .option('--label <label>', 'let this label point at the new version; may be repeated', collect)
    .option('--license <id>', 'licence of the model, an SPDX identifier')
    .option('--description <text>', 'what the model does')
    .option('--rename <old=new>', 'another name for an input or output; may be repeated', collectPairs)
    .option('--bind <name=tensor>', 'the tensor of a further source for a name, or softmax(tensor); may be repeated', collectBindings)
    .option('--tolerance <absolute,relative>', 'how far answers may be from the golden outputs (default: by precision)', parseTolerance)
    .option('--golden-inputs <file>', 'safetensors file with the inputs of a golden example; may be repeated', collect)
    .addOption(new Option('--task <task>', 'what the model is for').choices(['image-classification']))
    .option('--labels <file>', 'class names: text with one per line, or JSON')
    .option('--preprocessor <file>', 'preprocessor_config.json of Hugging Face Transformers')
    .option('--input <name>', 'the input that takes pictures')
    .option('--output <name>', 'the output that scores the classes')
    .addOption(new Option('--activation <function>', 'from the output to probabilities').choices(['none', 'softmax', 'sigmoid']))
    .option('--shorter-side <pixels>', 'resize pictures to this shorter side', parseCount)
    .option('--crop <height x width>', 'centre crop, such as 224 or 240x320', parseSize)
    .option('--scale <factor>', 'factor for pixel values (default: 1/255)', parseNumber)
    .option('--mean <r,g,b>', 'subtracted after scaling', parseChannels)
    .option('--std <r,g,b>', 'divided by after subtracting', parseChannels)
    .option('--sign <key.pem>', 'private key (P-256, P-384 or P-521) that signs the manifest, in the OpenSSF Model Signing format')
    .option('--json', 'print the result as JSON')
    .action((sources: string[], flags: PublishFlags) =>
      runCommand(flags, (context) => publishSources(context, flags, sources), printReport),
    );
}

async function publishSources({ json, signal }: CommandContext, flags: PublishFlags, sources: string[]): Promise<PublishReport> {
  using progress = openProgress(json);
  const steps: readonly PublishStep[] = ['read', 'build', 'check', 'write'];
  const { name, out, version, label, license, description, rename, bind, tolerance, goldenInputs } = flags;
  return await publish(sources, {
    name,
    repository: out,
    version,
    labels: label,
    license,
    description,
    rename,
    bind,
    tolerance,
    task: await readTask(flags),
    goldenInputs: goldenInputs && (await Promise.all(goldenInputs.map(readBytes))).map(decodeSafetensors),
    signingKey: await readOptional(flags.sign),
    signal,
    onProgress: (step) => progress.update(steps.indexOf(step), steps.length, step),
  });
}

async function readTask(flags: PublishFlags): Promise<ImageClassificationOptions | undefined> {
  const { task, labels, preprocessor, input, output, activation, shorterSide, crop, scale, mean, std } = flags;
  const fields = { labels, preprocessor, input, output, activation, shorterSide, crop, scale, mean, std };
  if (task === undefined) {
    const given = Object.entries(fields).filter(([, value]) => value !== undefined);
    if (given.length === 0) return undefined;
    throw new NearfarError('invalid-argument', `${given.map(([key]) => key).join(', ')} belong to a task; add --task image-classification`);
  }
  return { ...fields, task, labels: await readOptional(labels), preprocessor: await readOptional(preprocessor) };
}

async function readOptional(file: string | undefined): Promise<Uint8Array | undefined> {
  return file === undefined ? undefined : await readBytes(file);
}

async function readBytes(file: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(file));
  } catch (cause) {
    throw new NearfarError('not-found', `cannot read ${file}`, { cause, details: { file } });
  }
}

function printReport({ pin, manifest, bytes, chunks, checks }: PublishReport): string {
  const lines = checks.map(({ variant, backend, agreement, skipped }) =>
    skipped
      ? `  ${variant} on ${backend}: not tried (${skipped.message})`
      : `  ${variant} on ${backend}: within ${agreement?.absolute.toExponential(1)}`,
  );
  return [`${manifest.name} version ${pin.version} ${pin.digest}`, `  ${bytes} bytes in ${chunks} chunks`, ...lines].join('\n');
}
