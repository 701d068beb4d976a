import { readFile, writeFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { NearfarError } from '../../core/index.ts';
import { drawCharts } from '../chart.ts';
import { runCommand } from '../command.ts';
import { parseCount, parseNumber } from '../parse-option.ts';
import { formatTable } from '../table.ts';
import { parsePlanInputs } from './inputs.ts';
import { type Observed, observe } from './observe.ts';
import { makePlan, type Plan } from './plan.ts';
import type { Simulation } from './simulate.ts';

interface PlanFlags {
  readonly url?: string;
  readonly model?: string;
  readonly devices?: number;
  readonly visits?: number;
  readonly calls?: number;
  readonly peak?: number;
  readonly modelMb?: number;
  readonly serviceMs?: number;
  readonly workers?: number;
  readonly hitShare?: number;
  readonly targetP99?: number;
  readonly nodes?: number;
  readonly nodesDown?: number;
  readonly seed: number;
  readonly mostCalls: number;
  readonly out?: string;
  readonly json?: boolean;
}

export function addPlan(program: Command): void {
  program
    .command('plan')
    .description('how many servers a fleet of devices needs: by formulas, and by a simulated day')
    .argument('[file]', 'JSON with what is known of devices, visits and servers; the options below win over it')
    .option('--url <url>', 'take times of calls, and shares of near where clients report, from this running server')
    .option('--model <name>', 'of that server')
    .option('--devices <count>', 'that visit at all', parseCount)
    .option('--visits <per day>', 'of one device', parseNotNegative)
    .option('--calls <count>', 'of one visit', parseNotNegative)
    .option('--peak <factor>', 'the busiest moment of the day by the mean', parseNotNegative)
    .option('--model-mb <megabytes>', 'what a device downloads', parseNotNegative)
    .option('--service-ms <ms>', 'time of one call on a worker', parseNotNegative)
    .option('--workers <count>', 'runs side by side of one node', parseCount)
    .option('--hit-share <share>', 'of the result cache', parseNotNegative)
    .option('--target-p99 <ms>', 'of calls that servers answer', parseNotNegative)
    .option('--nodes <count>', 'what these can do, instead of how many are needed', parseCount)
    .option('--nodes-down <count>', 'nodes that go down in the busiest hour', parseCount)
    .option('--seed <number>', 'of the simulated day', parseCount, 1)
    .option('--most-calls <count>', 'simulate a part of each hour, where the day has more calls', parseCount, 200_000)
    .option('--out <file.svg>', 'draw the simulated day')
    .option('--json', 'print the result as JSON')
    .action((file: string | undefined, flags: PlanFlags) => runCommand(flags, ({ signal }) => run(file, flags, signal), print));
}

interface Result extends Plan {
  readonly observed?: Observed | undefined;
  readonly out?: string | undefined;
}

async function run(file: string | undefined, flags: PlanFlags, signal: AbortSignal): Promise<Result> {
  const given = file === undefined ? {} : await readInputs(file);
  const observed = flags.url === undefined ? undefined : await observe(flags.url, flags.model, signal);
  const inputs = parsePlanInputs(combine(given, flags, observed));
  const plan = makePlan(inputs, flags);
  if (flags.out !== undefined) await writeFile(flags.out, drawPlan(plan));
  return { ...plan, observed, out: flags.out };
}

async function readInputs(path: string): Promise<Record<string, unknown>> {
  const failed = (cause: unknown) =>
    new NearfarError('invalid-argument', `${path} is no JSON object: ${cause instanceof Error ? cause.message : cause}`, { cause });
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new NearfarError('not-found', `${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
  });
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return { ...parsed };
  } catch (cause) {
    throw failed(cause);
  }
  throw failed('it is something else');
}

/** Options win over the file, the file over what was observed. */
function combine(given: Record<string, unknown>, flags: PlanFlags, observed: Observed | undefined): object {
  const { server, ...fleet } = given;
  const defined = (values: object) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
  const runs = observed?.devices.reduce((sum, device) => sum + device.runs, 0) ?? 0;
  const nearShare = observed?.devices.reduce((sum, device) => sum + (device.runs / runs) * device.nearShare, 0) ?? 0;
  const classes = observed?.devices.map(({ name, nearShare, ...device }) => ({ name, nearShare, share: device.runs / runs }));
  const told = {
    ...(runs > 0 ? { classes } : observed && { classes: [{ name: 'all', share: 1, near: false }] }),
    ...fleet,
    ...defined({ visitsPerDay: flags.visits, callsPerVisit: flags.calls, peakFactor: flags.peak, modelMegabytes: flags.modelMb }),
  };
  const devices = flags.devices ?? given['devices'] ?? (observed && devicesFor(observed.peakPerSecond / (1 - nearShare), told));
  return {
    ...told,
    ...defined({ devices }),
    server: {
      ...defined({ serviceMs: observed?.serviceMs }),
      ...(typeof server === 'object' ? server : {}),
      ...defined({
        serviceMs: flags.serviceMs,
        workers: flags.workers,
        hitShare: flags.hitShare,
        targetP99Ms: flags.targetP99,
        nodes: flags.nodes,
        nodesDown: flags.nodesDown,
      }),
    },
  };
}

/** So many devices that their busiest moment is what was observed. */
function devicesFor(peakPerSecond: number, told: object): number | undefined {
  const { visitsPerDay, callsPerVisit, peakFactor } = parsePlanInputs(told);
  const devices = Math.round((peakPerSecond * 86_400) / (visitsPerDay * callsPerVisit * peakFactor));
  return Number.isFinite(devices) && devices > 0 ? devices : undefined;
}

function parseNotNegative(text: string): number {
  const value = parseNumber(text);
  if (value >= 0) return value;
  throw new InvalidArgumentError('expected a number of at least 0');
}

/** Load on the servers, latencies and the share of near over the day. */
export function drawPlan({ simulations, inputs }: Plan): string {
  const last = simulations.at(-1);
  const over = (of: (hour: Simulation['hours'][number]) => number) => last?.hours.map((hour) => ({ x: hour.hour, y: of(hour) })) ?? [];
  const x = { label: 'hour of the day' };
  return drawCharts([
    {
      title: `Calls of ${inputs.devices} devices over the day`,
      x,
      y: { label: 'calls a second' },
      series: [
        { name: 'all calls', kind: 'line', points: over(({ callsPerSecond }) => callsPerSecond) },
        { name: 'answered by servers', kind: 'line', points: over(({ serverCallsPerSecond }) => serverCallsPerSecond) },
      ],
    },
    {
      title: `Latency of calls to ${last?.nodes} nodes`,
      x,
      y: { label: 'milliseconds' },
      series: [
        { name: 'p50', kind: 'line', points: over(({ p50Ms }) => p50Ms) },
        { name: 'p99', kind: 'line', points: over(({ p99Ms }) => p99Ms) },
        { name: 'target', kind: 'dashes', points: over(() => inputs.server.targetP99Ms) },
      ],
    },
    {
      title: 'Share of calls that devices answer, and how busy the servers are',
      x,
      y: { label: 'share', most: 1 },
      series: [
        { name: 'near', kind: 'line', points: over(({ nearShare }) => nearShare) },
        { name: 'servers busy', kind: 'line', points: over(({ utilisation }) => utilisation) },
      ],
    },
  ]);
}

function print({ formulas, simulations, verdict, observed, out }: Result): string {
  const last = simulations.at(-1);
  const { node } = formulas;
  const rows: [string, string, string][] = [
    ['', 'FORMULAS', 'SIMULATED'],
    ['calls a second at the peak', number(formulas.peakCallsPerSecond), number(last?.peak.callsPerSecond)],
    ['answered near', percent(formulas.nearShare), percent(last?.nearShare)],
    ['calls a second to the servers', number(formulas.serverCallsPerSecond), number(last?.peak.serverCallsPerSecond)],
    ['nodes', formulas.nodes === undefined ? 'none is enough' : String(formulas.nodes), String(last?.nodes)],
    ['how busy', percent(node.utilisation), percent(last?.peak.utilisation)],
    ['p50 of the servers, ms', number(node.p50Ms), number(last?.peak.p50Ms)],
    ['p99 of the servers, ms', number(node.p99Ms), number(last?.peak.p99Ms)],
    ['refused', '', String(last?.refused)],
  ];
  const { downloads, requests, responses } = formulas.bytesPerDay;
  return [
    ...(observed
      ? [`observed: ${number(observed.peakPerSecond)} requests a second at most, ${number(observed.serviceMs)} ms each`, '']
      : []),
    formatTable(rows),
    '',
    `a day's network: ${gigabytes(downloads)} of models, ${gigabytes(requests)} of requests, ${gigabytes(responses)} of answers`,
    `to keep it with a node down: ${formulas.nodesWithSpare ?? 'more than can be said'}`,
    ...(last && last.dayShare < 1 ? [`simulated: ${percent(last.dayShare)} of each hour at full rate, ${last.calls} calls`] : []),
    verdict,
    ...(out === undefined ? [] : [`drawn: ${out}`]),
  ].join('\n');
}

function number(value: number | undefined): string {
  if (value === undefined) return 'unknown';
  return Number.isFinite(value) ? value.toFixed(value < 10 ? 2 : 0) : 'without end';
}

function percent(share: number | undefined): string {
  return `${((share ?? 0) * 100).toFixed(1)} %`;
}

function gigabytes(bytes: number): string {
  return `${number(bytes / 1e9)} GB`;
}
