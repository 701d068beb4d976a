import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import * as v from 'valibot';
import { NearfarError } from '../core/index.ts';
import { askServer } from './ask-server.ts';
import { runCommand } from './command.ts';
import { parseCount } from './parse-option.ts';
import { addServerOptions, type ServerFlags } from './server-options.ts';
import { formatTable } from './table.ts';

const reportSchema = v.object({
  report: v.nullable(
    v.looseObject({
      shadow: v.object({ version: v.optional(v.string()), label: v.optional(v.string()), share: v.number() }),
      version: v.optional(v.string()),
      baseline: v.optional(v.string()),
      compared: v.number(),
      agreed: v.number(),
      failed: v.number(),
      lastFailure: v.optional(v.string()),
      dropped: v.object({ busy: v.number(), large: v.number() }),
      signatures: v.array(
        v.looseObject({
          signature: v.string(),
          compared: v.number(),
          agreed: v.number(),
          topAgreement: v.optional(v.number()),
          // JSON has no infinity: outputs of another shape.
          maxAbsolute: v.nullable(v.number()),
          maxRelative: v.nullable(v.number()),
          lastDifference: v.optional(v.string()),
          baselineInferMs: v.number(),
          shadowInferMs: v.number(),
        }),
      ),
    }),
  ),
});

const decision = v.object({ kind: v.string(), statement: v.string() });
const statusSchema = v.looseObject({
  rollout: v.optional(
    v.looseObject({
      label: v.string(),
      version: v.string(),
      state: v.string(),
      step: v.number(),
      steps: v.array(v.unknown()),
      statement: v.string(),
    }),
  ),
  decision: v.optional(decision),
});
const dryRunSchema = v.looseObject({ steps: v.array(v.string()), decision });

interface ShadowFlags extends ServerFlags {
  readonly share: number;
  readonly off?: boolean;
}

interface RuleFlags extends ServerFlags {
  readonly label?: string;
  readonly steps?: readonly number[];
  readonly minutes?: number;
  readonly requests?: number;
  readonly maxErrorRate?: number;
  readonly maxP99Ratio?: number;
  readonly maxP99Ms?: number;
  readonly minAgreement?: number;
  readonly minRequests?: number;
  readonly minCompared?: number;
  readonly rules?: string;
}

/** Shadow runs, and rollouts by rules, of a running server. */
export function addRollout(program: Command): void {
  addShadow(program);
  const rollout = program
    .command('rollout')
    .description('give a new version its share of the clients step by step, or take it back, by rules');
  const command = (usage: string, description: string) => addServerOptions(rollout.command(usage).description(description));
  const pathOf = (model: string) => `models/${encodeURIComponent(model)}/rollout`;

  addRules(command('start <model>', 'begin a rollout')).action((model: string, flags: RuleFlags) =>
    runCommand(
      flags,
      async ({ signal }) =>
        askServer({ url: flags.url, path: pathOf(model), method: 'PUT', body: await rulesOf(flags), answer: statusSchema, signal }),
      (status) => printStatus(model, status),
    ),
  );
  addRules(command('dry-run <model>', 'say what a rollout would do, and do nothing')).action((model: string, flags: RuleFlags) =>
    runCommand(
      flags,
      async ({ signal }) => {
        const body = { ...(await rulesOf(flags)), dryRun: true };
        return askServer({ url: flags.url, path: pathOf(model), method: 'PUT', body, answer: dryRunSchema, signal });
      },
      ({ steps, decision: { kind, statement } }) =>
        [...steps.map((step, index) => `${index + 1}. ${step}`), `now: ${kind}, ${statement}`].join('\n'),
    ),
  );
  command('status <model>', 'show the rollout of a model, and what it waits for').action((model: string, flags: ServerFlags) =>
    runCommand(
      flags,
      ({ signal }) => askServer({ url: flags.url, path: pathOf(model), answer: statusSchema, signal }),
      (status) => printStatus(model, status),
    ),
  );
  command('abort <model>', 'end a rollout: all clients get stable').action((model: string, flags: ServerFlags) =>
    runCommand(
      flags,
      ({ signal }) => askServer({ url: flags.url, path: pathOf(model), method: 'DELETE', answer: statusSchema, signal }),
      (status) => printStatus(model, status),
    ),
  );
}

function addShadow(program: Command): void {
  addServerOptions(
    program
      .command('shadow <model> [version]')
      .description(
        'let a version, by its number or label, answer a share of the requests silently, and compare; without one: show what was found',
      ),
  )
    .option('--share <percent>', 'share of the requests that stable answers, in percent', parseNumber, 10)
    .option('--off', 'end the shadow runs')
    .action((model: string, version: string | undefined, flags: ShadowFlags) =>
      runCommand(
        flags,
        async ({ signal }) => {
          const question = { url: flags.url, path: `models/${encodeURIComponent(model)}/shadow`, signal };
          if (version !== undefined && flags.off) throw new NearfarError('invalid-argument', 'expected a version or --off, not both');
          if (flags.off) {
            await askServer({ ...question, method: 'DELETE', answer: v.object({}) });
            return { report: null };
          }
          if (version === undefined) return askServer({ ...question, answer: reportSchema });
          const body = { [/^\d+$/.test(version) ? 'version' : 'label']: version, share: flags.share };
          return askServer({ ...question, method: 'PUT', body, answer: reportSchema });
        },
        ({ report }) => printReport(model, report),
      ),
    );
}

function addRules(command: Command): Command {
  const rule = (flags: string, description: string, parse: (text: string) => unknown = parseNumber) =>
    command.addOption(new Option(flags, description).argParser(parse));
  rule('--label <label>', 'label of the new version (canary)', String);
  rule('--steps <percents>', 'shares of the clients, such as 1,10,50,100', (text) => text.split(',').map(parseNumber));
  rule('--minutes <minutes>', 'each step takes at least so long (10)');
  rule('--requests <count>', 'and at least so many requests to the new version', parseCount);
  rule('--max-error-rate <share>', 'more failing requests than this share take it back (0.01)');
  rule('--max-p99-ratio <factor>', 'a p99 of more than so many times that of stable takes it back');
  rule('--max-p99-ms <ms>', 'a p99 above takes it back');
  rule('--min-agreement <share>', 'fewer shadow runs that agree take it back');
  rule('--min-requests <count>', 'nothing is concluded from fewer requests (100)', parseCount);
  rule('--min-compared <count>', 'nor from fewer shadow runs (100)', parseCount);
  return command.option('--rules <file>', 'all of this as JSON, as PUT …/rollout takes it');
}

async function rulesOf(flags: RuleFlags): Promise<object> {
  const { label, steps, minutes, requests, maxErrorRate, maxP99Ratio, maxP99Ms, minAgreement, minRequests, minCompared, rules } = flags;
  if (rules !== undefined) return readRules(rules);
  const timed = { ...(minutes === undefined ? (requests === undefined ? { minutes: 10 } : {}) : { minutes }), requests };
  return {
    label,
    steps: (steps ?? [1, 10, 50, 100]).map((share) => ({ share, ...timed })),
    conditions: { maxErrorRate, maxP99Ratio, maxP99Ms, minAgreement, minRequests, minCompared },
  };
}

async function readRules(file: string): Promise<object> {
  try {
    return v.parse(v.record(v.string(), v.unknown()), JSON.parse(await readFile(file, 'utf8')));
  } catch (cause) {
    throw new NearfarError('invalid-argument', `--rules: ${file} cannot be read: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError(`expected a number, got ${text}`);
}

function printStatus(model: string, { rollout, decision: next }: v.InferOutput<typeof statusSchema>): string {
  if (!rollout) return `${model}: there was no rollout`;
  const { label, version, state, step, steps, statement } = rollout;
  const where = state === 'running' ? `step ${step + 1} of ${steps.length}` : state;
  return `${model}: ${label}, version ${version}, ${where}: ${next?.statement ?? statement}`;
}

function printReport(model: string, report: v.InferOutput<typeof reportSchema>['report']): string {
  if (!report) return `${model}: no shadow runs`;
  const { shadow, version, baseline, compared, agreed, failed, lastFailure, dropped, signatures } = report;
  const lines = [
    `${model}: version ${version} beside version ${baseline}, ${shadow.share} % of the requests`,
    `${compared} compared, ${agreed} agree, ${failed} failed${lastFailure ? ` (${lastFailure})` : ''}, ${dropped.busy} dropped as too many waited, ${dropped.large} as too large`,
  ];
  if (signatures.length === 0) return lines.join('\n');
  const rows = signatures.map((found) => [
    found.signature,
    String(found.compared),
    String(found.agreed),
    found.topAgreement === undefined ? '' : `${(100 * found.topAgreement).toFixed(2)} %`,
    String(found.maxAbsolute ?? 'infinite'),
    String(found.maxRelative ?? 'infinite'),
    `${found.baselineInferMs.toFixed(2)} / ${found.shadowInferMs.toFixed(2)}`,
  ]);
  return [...lines, formatTable([['SIGNATURE', 'COMPARED', 'AGREE', 'SAME TOP', 'MAX ABS', 'MAX REL', 'MS BEFORE / NEW'], ...rows])].join(
    '\n',
  );
}
