import * as v from 'valibot';
import { NearfarError, type Traffic, type Versions } from '../../core/index.ts';

// What versions.json holds beside what both legs read: shadow runs and rollouts, which servers alone follow.

const versionNumber = v.pipe(v.string(), v.regex(/^[1-9]\d{0,18}$/, 'expected the number of a version'));
const percent = v.pipe(v.number(), v.minValue(0), v.maxValue(100));
const ratio = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));

/** A version answers a share of the requests too, and nobody waits for it. */
export const shadowSchema = v.pipe(
  v.object({
    version: v.optional(versionNumber),
    label: v.optional(v.string()),
    /** Of the requests that `stable` answers, in percent. */
    share: percent,
  }),
  v.check(({ version, label }) => (version === undefined) !== (label === undefined), 'expected either a version or a label'),
);
export type Shadow = v.InferOutput<typeof shadowSchema>;

const stepSchema = v.object({
  /** Of the clients, in percent. */
  share: percent,
  /** At least so long. */
  minutes: v.optional(positive),
  /** At least so many requests to the new version. */
  requests: v.optional(count),
});

const conditionsSchema = v.object({
  /** Share of the requests that may fail by the server's fault, 0 to 1. */
  maxErrorRate: v.optional(ratio, 0.01),
  /** How many times as long as on the version before the 99th percentile may be. */
  maxP99Ratio: v.optional(positive),
  /** Milliseconds. */
  maxP99Ms: v.optional(positive),
  /** Share of the shadow runs that must agree, 0 to 1. */
  minAgreement: v.optional(ratio),
  /** Nothing is concluded from fewer. */
  minRequests: v.optional(count, 100),
  minCompared: v.optional(count, 100),
});

export const defaultSteps = [1, 10, 50, 100].map((share) => ({ share, minutes: 10 }));

/** What is asked for. */
export const rulesSchema = v.object({
  /** Of the new version. */
  label: v.optional(v.string(), 'canary'),
  steps: v.optional(v.pipe(v.array(stepSchema), v.minLength(1), v.maxLength(100)), defaultSteps),
  conditions: v.optional(conditionsSchema, {}),
  /** Says what would be done, and does nothing. */
  dryRun: v.optional(v.boolean(), false),
});
export type Rules = v.InferOutput<typeof rulesSchema>;

/** A rollout as versions.json keeps it. */
const rolloutSchema = v.object({
  ...v.omit(rulesSchema, ['dryRun']).entries,
  id: v.string(),
  /** The new version, and the one before. */
  version: versionNumber,
  baseline: versionNumber,
  state: v.picklist(['running', 'promoted', 'rolled-back', 'aborted']),
  /** Which of the steps it is at, from 0. */
  step: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  startedAt: v.string(),
  stepStartedAt: v.string(),
  /** Of the version before, measured while it still answered. */
  baselineP99Ms: v.optional(v.number()),
  /** The last decision, in words. */
  statement: v.string(),
});
export type Rollout = v.InferOutput<typeof rolloutSchema>;

/** @returns undefined where there is none, or one that another nearfar wrote and this one cannot read. */
export function shadowOf(versions: Versions | undefined): Shadow | undefined {
  return readPart(shadowSchema, versions?.['shadow']);
}

/** As {@link shadowOf}. */
export function rolloutOf(versions: Versions | undefined): Rollout | undefined {
  return readPart(rolloutSchema, versions?.['rollout']);
}

function readPart<Schema extends v.GenericSchema>(schema: Schema, part: unknown): v.InferOutput<Schema> | undefined {
  const parsed = v.safeParse(schema, part);
  return parsed.success ? parsed.output : undefined;
}

/** The version that runs in the shadow; undefined where its label is gone. */
export function shadowVersion({ version, label }: Shadow, labels: Readonly<Record<string, string>>): string | undefined {
  if (version !== undefined) return version;
  return label !== undefined && Object.hasOwn(labels, label) ? labels[label] : undefined;
}

/** Shares of clients at a step; undefined where all have `stable`. */
export function trafficOf(label: string, share: number): Traffic | undefined {
  return share === 0 ? undefined : { [label]: share, stable: 100 - share };
}

/** @throws {NearfarError} `invalid-argument` that names the first wrong field. */
export function parseBody<Schema extends v.GenericSchema>(what: string, schema: Schema, body: unknown): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, body);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const path = v.getDotPath(issue);
  throw new NearfarError('invalid-argument', `${what} is not valid${path ? ` at ${path}` : ''}: ${issue.message}`, {
    details: { got: body },
  });
}
