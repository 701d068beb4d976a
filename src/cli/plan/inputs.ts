import * as v from 'valibot';
import { NearfarError } from '../../core/index.ts';

const positive = v.pipe(v.number(), v.gtValue(0));
const notNegative = v.pipe(v.number(), v.minValue(0));
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const count = v.pipe(v.number(), v.integer(), v.minValue(1));

const classSchema = v.strictObject({
  name: v.string(),
  /** Of the devices. */
  share,
  /** Whether these devices can run the model. */
  near: v.optional(v.boolean(), true),
  /** Share of the calls that they answer themselves, where it is known; else it follows from download and visits. */
  nearShare: v.optional(share),
  megabitsPerSecond: v.optional(positive, 20),
  /** From the last byte to the first answer. */
  openMs: v.optional(notNegative, 1_000),
  inferMs: v.optional(notNegative, 20),
  /** Of the calls on the device, which the server then answers. */
  failureShare: v.optional(share, 0),
});

const serverSchema = v.strictObject({
  /** Of one call on a worker. */
  serviceMs: v.optional(positive, 10),
  service: v.optional(v.picklist(['fixed', 'exponential']), 'exponential'),
  /** Runs side by side of one node. */
  workers: v.optional(count, 1),
  /** Most rows of a batch, and what each further row adds to serviceMs. */
  batch: v.optional(v.strictObject({ most: count, rowMs: notNegative })),
  /** Of the result cache. */
  hitShare: v.optional(share, 0),
  hitMs: v.optional(notNegative, 1),
  /** Nodes are to be so busy at most. */
  targetUtilisation: v.optional(v.pipe(v.number(), v.gtValue(0), v.ltValue(1)), 0.7),
  targetP99Ms: v.optional(positive, 200),
  /** Calls that a node takes at once, as --max_inflight. */
  maxInFlight: v.optional(count, 512),
  /** To see what these can do; else as many as are needed. */
  nodes: v.optional(count),
  /** Nodes that are down in the busiest hour. */
  nodesDown: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 0),
  requestKilobytes: v.optional(notNegative, 20),
  responseKilobytes: v.optional(notNegative, 2),
});

const planSchema = v.strictObject({
  devices: v.optional(count, 100_000),
  /** Of one device. */
  visitsPerDay: v.optional(positive, 1),
  callsPerVisit: v.optional(positive, 10),
  secondsBetweenCalls: v.optional(positive, 10),
  /** The busiest moment of the day by the mean. */
  peakFactor: v.optional(v.pipe(v.number(), v.minValue(1), v.maxValue(20)), 2),
  modelMegabytes: v.optional(notNegative, 20),
  /** Share of the visits that find in the cache what the visit before left there. */
  keptShare: v.optional(share, 0.9),
  classes: v.optional(v.pipe(v.array(classSchema), v.minLength(1)), [
    { name: 'desktop', share: 0.4, megabitsPerSecond: 50 },
    { name: 'mobile', share: 0.45, megabitsPerSecond: 10, inferMs: 60, failureShare: 0.01 },
    { name: 'old', share: 0.15, near: false },
  ]),
  server: v.optional(serverSchema, {}),
});

/** What a plan starts from; every number has a default. */
export type PlanInputs = v.InferOutput<typeof planSchema>;
export type DeviceClass = PlanInputs['classes'][number];

/**
 * Fills the defaults of what is given.
 * @throws {NearfarError} `invalid-argument` for what is unknown or out of range, and shares of devices that are not 1 together.
 */
export function parsePlanInputs(given: unknown): PlanInputs {
  const parsed = v.safeParse(planSchema, given);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new NearfarError('invalid-argument', `${v.getDotPath(issue) ?? 'the plan'}: ${issue.message}`);
  }
  const sum = parsed.output.classes.reduce((total, each) => total + each.share, 0);
  if (Math.abs(sum - 1) < 1e-6) return parsed.output;
  throw new NearfarError('invalid-argument', `the shares of the device classes are to be 1 together, they are ${sum}`);
}
