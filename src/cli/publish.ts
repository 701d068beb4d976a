import { type Command, Option } from 'commander';
import { decodeSafetensors, taskNames } from '../core/index.ts';
import { type Distance, type PublishOptions, type PublishReport, publish, publishSteps } from '../publish/index.ts';
import { type CommandContext, runCommand } from './command.ts';
import {
  type Binding,
  collect,
  collectBindings,
  collectPairs,
  parseChannels,
  parseCount,
  parseFormats,
  parseNumber,
  parsePrecisions,
  parseSize,
  parseTolerance,
} from './parse-option.ts';
import { openProgress } from './progress.ts';
import { readPictures } from './read-pictures.ts';
import { readBytes, readTasks, type TaskFlags } from './read-tasks.ts';

interface PublishFlags extends TaskFlags {
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
  readonly variants?: NonNullable<PublishOptions['precisions']>;
  readonly formats?: NonNullable<PublishOptions['formats']>;
  readonly optimize?: 'all' | 'none';
  readonly prune?: number;
  readonly samples?: string[];
  readonly minAgreement?: number;
  /** False with --no-original. */
  readonly original: boolean;
  readonly sign?: string;
  readonly json?: boolean;
}

export function addPublish(program: Command): void {
  program
    .command('publish')
    .description('publish model files as one immutable version that runs in browsers and on servers')
    .argument(
      '<source...>',
      'a model file or a folder: SavedModel, GraphDef, Keras, TensorFlow.js, ONNX; of Hugging Face, TensorFlow Hub, TFX',
    )
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
    .option('--variants <precisions>', 'float32, float16, uint16, uint8, with commas (default: float32)', parsePrecisions)
    .option('--formats <formats>', 'what to write: tfjs, onnx, with commas (default: both)', parseFormats)
    .addOption(new Option('--optimize <passes>', 'which passes improve the graph').choices(['all', 'none']))
    .option('--prune <share>', 'set this share of each large weight to zero, the smallest ones (0 to 1)', parseNumber)
    .option('--samples <path>', 'picture, or folder of pictures, that variants are compared on; may be repeated', collect)
    .option('--min-agreement <share>', 'do not publish a variant that agrees on fewer best classes (0 to 1)', parseNumber)
    .option('--no-original', 'leave the files of a SavedModel out of the version')
    .addOption(
      new Option('--task <task>', 'what the model is for (default: what a Hugging Face folder says)').choices([...taskNames, 'none']),
    )
    .option('--task-spec <file>', 'JSON with input and output of the task as in a manifest, or with several tasks by their names')
    .option('--labels <file>', 'class names: text with one per line, or JSON')
    .option('--tokenizer <file>', 'tokenizer.json of a task of texts')
    .option('--preprocessor <file>', 'preprocessor_config.json of Hugging Face Transformers')
    .option('--input <name>', 'the input that takes pictures, or sounds')
    .option('--output <name>', 'the output that the answer is made of')
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

/** What `--json` prints: the short answer first, then all that was measured. */
interface Published extends Omit<PublishReport, 'manifest'> {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly variants: readonly PublishedVariant[];
  readonly manifest: PublishReport['manifest'];
}

interface PublishedVariant {
  readonly id: string;
  readonly format: string;
  readonly precision: string;
  readonly bytes: number;
  /** With the float32 sibling; null for what is float32 itself. */
  readonly agreement: (Pick<Distance, 'absolute' | 'relative' | 'top1' | 'examples'> & { readonly reference: string }) | null;
}

async function publishSources({ json, signal }: CommandContext, flags: PublishFlags, sources: string[]): Promise<Published> {
  using progress = openProgress(json);
  const { name, out, version, label, license, description, rename, bind, tolerance, goldenInputs } = flags;
  const { variants, formats, optimize, prune, samples, minAgreement, original } = flags;
  const report = await publish(sources, {
    name,
    repository: out,
    version,
    labels: label,
    license,
    description,
    rename,
    bind,
    tolerance,
    precisions: variants,
    formats,
    optimize,
    prune,
    minAgreement,
    original,
    ...(await readTasks(flags)),
    samples: samples && (await readPictures(samples, signal)),
    goldenInputs: goldenInputs && (await Promise.all(goldenInputs.map(readBytes))).map(decodeSafetensors),
    signingKey: flags.sign === undefined ? undefined : await readBytes(flags.sign),
    signal,
    onProgress: (step, detail) => {
      const within = detail && detail.total > 0 ? detail.done / detail.total : 0;
      progress.update(publishSteps.indexOf(step) + within, publishSteps.length, detail ? `${step}: ${detail.what}` : step);
    },
  });
  return summarize(report);
}

function summarize(report: PublishReport): Published {
  const { pin, manifest, measures } = report;
  const variants = manifest.variants.map(({ id, format, precision, files }): PublishedVariant => {
    const bytes = files.reduce((sum, path) => sum + (manifest.files[path]?.bytes ?? 0), 0);
    const measured = measures.find(({ variant }) => variant === id);
    if (!measured) return { id, format, precision, bytes, agreement: null };
    const { reference, absolute, relative, top1, examples } = measured;
    return { id, format, precision, bytes, agreement: { reference, absolute, relative, top1, examples } };
  });
  return { name: manifest.name, version: pin.version, digest: pin.digest, variants, ...report };
}

function printReport({ name, pin, bytes, chunks, checks, variants, pruning, speeds, skipped, unusable }: Published): string {
  const ofVariant = variants.map(({ id, bytes: size, agreement }) => {
    const ran = checks
      .filter(({ variant }) => variant === id)
      .map(({ backend, agreement: found, skipped: why }) => {
        const speed = speeds.find((each) => each.variant === id && each.backend === backend);
        return why
          ? `    not tried on ${backend}: ${why.message}`
          : `    right on ${backend} within ${found?.absolute.toExponential(1)}${speed ? `, ${speed.medianMs.toPrecision(3)} ms` : ''}`;
      });
    const agrees = agreement && `    off ${agreement.reference} by ${agreement.absolute.toExponential(1)}${sameClasses(agreement)}`;
    return [`  ${id}: ${size} bytes`, ...(agrees ? [agrees] : []), ...ran].join('\n');
  });
  const pruned = pruning && [
    `  pruned: ${(pruning.sparsity * 100).toFixed(1)} % zeros, off by ${pruning.absolute.toExponential(1)}${sameClasses(pruning)}`,
    ...pruning.variants.map(
      ({ variant, compressedBytes: { before, after } }) => `    ${variant}: ${before} bytes compressed before, ${after} after`,
    ),
  ];
  return [
    `${name} version ${pin.version} ${pin.digest}`,
    `  ${bytes} bytes in ${chunks} chunks`,
    ...ofVariant,
    ...(pruned ?? []),
    ...skipped.map(({ variant, message }) => `  not published: ${variant}: ${message}`),
    ...Object.entries(unusable).map(([signature, reasons]) => `  signature ${signature} cannot run: ${reasons.join('; ')}`),
  ].join('\n');
}

function sameClasses({ top1, examples }: Pick<Distance, 'top1' | 'examples'>): string {
  return top1 === null ? '' : `, the same best class in ${(top1 * 100).toFixed(1)} % of ${examples} examples`;
}
