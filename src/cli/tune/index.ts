import { type Command, InvalidArgumentError, Option } from 'commander';
import type { BackendId } from '../../core/index.ts';
import { type CommandContext, runCommand } from '../command.ts';
import { parseCount, parseList, parseNumber } from '../parse-option.ts';
import { openProgress } from '../progress.ts';
import { formatTable } from '../table.ts';
import { writeTuneFiles } from './files.ts';
import { findModel } from './model.ts';
import { describeSettings } from './settings.ts';
import { type Confirmation, type Tried, type TuneReport, tune } from './tune.ts';

interface TuneFlags {
  readonly models: string;
  readonly signature?: string;
  readonly goal: 'throughput' | 'latency';
  readonly targetP99: number;
  readonly rate?: number;
  readonly rows?: number;
  readonly requests?: string;
  readonly backends?: BackendId[];
  readonly budget: number;
  readonly seed: number;
  readonly out: string;
  readonly json?: boolean;
}

const backends = ['tfjs-webgpu', 'onnx-webgpu', 'onnx-cuda', 'onnx-tensorrt', 'onnx-cpu', 'onnx-wasm', 'tfjs-wasm'] as const;

export function addTune(program: Command): void {
  program
    .command('tune')
    .description('find the settings that serve a model best on this machine, by load on servers that it starts')
    .argument('<model>', 'a name, name@version or name@label')
    .option('--models <folder>', 'folder of models', './models')
    .option('--signature <name>', 'what is asked (default: serving_default, else the first one)')
    .addOption(
      new Option('--goal <goal>', 'most answers a second, or fastest answers').choices(['throughput', 'latency']).default('throughput'),
    )
    .option('--target-p99 <ms>', '99th percentile that throughput keeps to', parsePositive, 100)
    .option('--rate <per second>', 'calls a second at which latency is measured (default: half of what the defaults can do)', parsePositive)
    .option('--rows <count>', 'rows of each request (default: as the examples)', parseCount)
    .option(
      '--requests <file>',
      'recorded requests, TFRecords of PredictionLog (default: the warm-up file of the version, else its golden examples)',
    )
    .option('--backends <names>', 'backends to try, by commas', parseList(backends))
    .option('--budget <seconds>', 'how long it may take', parsePositive, 120)
    .option('--seed <number>', 'chooses what is tried and when calls come', parseCount, 1)
    .option('--out <folder>', 'where tuned.flags, batching.pbtxt, tune.json and tune.svg go', './tuned')
    .option('--json', 'print the result as JSON')
    .action((model: string, flags: TuneFlags) => runCommand(flags, (context) => run(context, model, flags), print));
}

interface Result extends TuneReport {
  readonly files: readonly string[];
}

async function run({ json, signal }: CommandContext, model: string, flags: TuneFlags): Promise<Result> {
  const budgetMs = flags.budget * 1000;
  using progress = openProgress(json);
  const report = await tune({
    ...flags,
    model: await findModel(flags.models, model),
    p99TargetMs: flags.targetP99,
    perSecond: flags.rate,
    budgetMs,
    signal,
    onProgress: (elapsedMs, what) => progress.update(Math.min(elapsedMs, budgetMs), budgetMs, what),
  });
  return { ...report, files: await writeTuneFiles(flags.out, report) };
}

function parsePositive(text: string): number {
  const value = parseNumber(text);
  if (value > 0) return value;
  throw new InvalidArgumentError('expected a number above 0');
}

const shownRows = 12;

function print(result: Result): string {
  const { tried, goal, inputs, combinations, isStopped, elapsedMs, files, signature } = result;
  const { rows } = inputs;
  const what =
    goal.kind === 'throughput' ? `most answers a second with a p99 of at most ${goal.p99TargetMs} ms` : `lowest p99 at ${goal.perSecond}/s`;
  const hidden = tried.length - shownRows;
  return [
    `${result.model} version ${result.version}, ${signature}, ${rows} ${rows === 1 ? 'row' : 'rows'} a request (${inputs.origin}): ${what}`,
    `${tried.length} of ${combinations} combinations tried in ${Math.round(elapsedMs / 1000)} s${isStopped ? ', then stopped' : ''}`,
    '',
    formatTable([['SETTINGS', 'ROUNDS', 'ANSWERS/S', 'P50 MS', 'P99 MS', ''], ...tried.slice(0, shownRows).map(rowOf)]),
    ...(hidden > 0 ? [`… ${hidden} more in ${files.find((file) => file.endsWith('.json'))}`] : []),
    '',
    concludeFrom(result),
    `written: ${files.join(', ')}`,
  ].join('\n');
}

function rowOf({ settings, rounds, load, isMet, problem }: Tried): string[] {
  const numbers = load ? [Math.round(load.perSecond).toString(), formatMs(load.p50Ms), formatMs(load.p99Ms)] : ['', '', ''];
  const note = problem ?? (isMet ? '' : load && load.failed > 0 ? 'does not keep up' : 'misses the target, or too few answers');
  return [describeSettings(settings), String(rounds), ...numbers, note];
}

function concludeFrom({ best, recommended, confirmation, isMet, isStopped, goal, files }: Result): string {
  if (!isMet)
    return goal.kind === 'throughput'
      ? `nothing that was tried keeps to ${goal.p99TargetMs} ms`
      : `nothing that was tried keeps up with ${goal.perSecond}/s`;
  if (!best) return 'the defaults are best';
  const found = `best: ${describeSettings(best)}`;
  if (!confirmation) return `${found}; not measured against the defaults once more${isStopped ? ', as it was stopped' : ''}`;
  const ratio = describeRatio(confirmation);
  if (!recommended) return `${found}; measured once more ${ratio}: not enough to leave the defaults`;
  return `${found}; measured once more ${ratio}\nuse it: nearfar serve … $(cat ${files.find((file) => file.endsWith('.flags'))})`;
}

function describeRatio({ ratio, pairs }: Confirmation): string {
  if (ratio !== undefined) return `${ratio.toFixed(2)} times as good as the defaults`;
  const missed = (side: 'best' | 'defaults') => pairs.filter((pair) => pair[side] === null).length;
  return `the goal was missed ${missed('best')} of ${pairs.length} times, by the defaults ${missed('defaults')} times`;
}

function formatMs(ms: number): string {
  return Number.isFinite(ms) ? ms.toFixed(ms < 10 ? 2 : 0) : '';
}
