import { type Command, Option } from 'commander';
import { type ConvertFormat, type ConvertOptions, type ConvertReport, convert } from '../publish/index.ts';
import { type CommandContext, runCommand } from './command.ts';
import { collect, parseList } from './parse-option.ts';
import { openProgress } from './progress.ts';

interface ConvertFlags extends Pick<ConvertOptions, 'out' | 'precision' | 'optimize'> {
  readonly formats?: ConvertFormat[];
  readonly signature?: string[];
  readonly json?: boolean;
}

export function addConvert(program: Command): void {
  program
    .command('convert')
    .description('write a model as TensorFlow.js GraphModel and as ONNX: just files, no version')
    .argument('<source>', 'a model file, or a folder that holds one: SavedModel, frozen graph, Keras, TensorFlow.js, ONNX')
    .requiredOption('--out <folder>', 'a folder that is empty or not there; gets tfjs/ and onnx/')
    .option('--formats <tfjs,onnx>', 'what to write (default: both)', parseList(['tfjs', 'onnx'] as const))
    .addOption(
      new Option('--precision <type>', 'how weights are stored').choices(['float32', 'float16', 'uint8']).default('float32' as const),
    )
    .addOption(new Option('--optimize <passes>', 'none writes the graph as it was read').choices(['all', 'none']).default('all' as const))
    .option('--signature <name>', 'write this one alone; may be repeated (default: all that can be run)', collect)
    .option('--json', 'print the result as JSON')
    .action((source: string, flags: ConvertFlags) => runCommand(flags, (context) => convertSource(context, flags, source), printReport));
}

async function convertSource(
  { json, signal }: CommandContext,
  { out, formats, precision, optimize, signature: signatures }: ConvertFlags,
  source: string,
): Promise<ConvertReport> {
  using progress = openProgress(json);
  const onProgress = (bytes: number, total: number) => progress.update(bytes, total, out);
  return await convert(source, { out, formats, precision, optimize, signatures, signal, onProgress });
}

function printReport({ source, out, formats, skipped }: ConvertReport): string {
  return [
    `${source} to ${out}`,
    ...formats.flatMap(({ precision, files, ops, notes, unusable }) => [
      ...Object.entries(files).map(([path, bytes]) => `  ${path}: ${bytes} bytes`),
      `    ${precision} weights, operators: ${ops.join(' ')}`,
      ...notes.map((note) => `    note: ${note}`),
      ...Object.entries(unusable).map(([name, reasons]) => `    without the signature ${name}: ${reasons.join('; ')}`),
    ]),
    ...skipped.map(({ format, message }) => `  ${format}: not written (${message})`),
  ].join('\n');
}
