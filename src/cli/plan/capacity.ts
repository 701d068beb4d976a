import type { DeviceClass, PlanInputs } from './inputs.ts';
import { describeStation, type StationReport } from './queueing.ts';

/** What the formulas say. */
export interface Capacity {
  /** Of all devices, at the busiest moment. */
  readonly peakCallsPerSecond: number;
  /** Share of the calls that devices answer themselves. */
  readonly nearShare: number;
  readonly classes: readonly { readonly name: string; readonly cachedShare: number; readonly nearShare: number }[];
  /** Calls that reach the servers at that moment, and those of them that no cache answers. */
  readonly serverCallsPerSecond: number;
  readonly computedPerSecond: number;
  /** Mean time of a call on a worker, in full batches where there are some. */
  readonly serviceMs: number;
  /** ceil(λ(1−near)(1−H)·S/(workers·ρ)). */
  readonly nodesByUtilisation: number;
  /** The least number of nodes, at least that one, whose 99th percentile keeps to the target; undefined where none does. */
  readonly nodes: number | undefined;
  /** One more, so that one may be down. */
  readonly nodesWithSpare: number | undefined;
  /** Of one node, when there are so many: a share of the calls at random. */
  readonly node: StationReport;
  /** Of a call that reaches a server: (1−H)·W + H·t. */
  readonly meanServerMs: number;
  readonly bytesPerDay: { readonly downloads: number; readonly requests: number; readonly responses: number };
}

/** Plans the servers of a fleet by formulas. */
export function planCapacity(inputs: PlanInputs): Capacity {
  const { devices, visitsPerDay, callsPerVisit, peakFactor, server, modelMegabytes } = inputs;
  const classes = inputs.classes.map((each) => ({ ...each, ...nearOf(each, inputs) }));
  const callsPerDay = devices * visitsPerDay * callsPerVisit;
  const nearShare = classes.reduce((sum, each) => sum + each.share * each.calculatedNearShare, 0);
  const peakCallsPerSecond = (callsPerDay / 86_400) * peakFactor;
  const serverCallsPerSecond = peakCallsPerSecond * (1 - nearShare);
  const computedPerSecond = serverCallsPerSecond * (1 - server.hitShare);
  const serviceMs = fullBatchMs(inputs);
  const needed = Math.ceil((computedPerSecond * serviceMs) / 1000 / (server.workers * server.targetUtilisation));
  const nodesByUtilisation = Math.max(1, needed);
  const nodeOf = (nodes: number) => describeStation({ ...server, serviceMs, callsPerSecond: computedPerSecond / nodes });
  const nodes = server.nodes ?? fewestNodes(nodesByUtilisation, (count) => nodeOf(count).p99Ms <= server.targetP99Ms);
  const node = nodeOf(nodes ?? nodesByUtilisation);
  const downloads = classes.reduce((sum, each) => sum + each.share * each.fetchedShare, 0) * devices * visitsPerDay * modelMegabytes * 1e6;
  const serverCallsPerDay = callsPerDay * (1 - nearShare);
  return {
    peakCallsPerSecond,
    nearShare,
    classes: classes.map(({ name, cachedShare, calculatedNearShare }) => ({ name, cachedShare, nearShare: calculatedNearShare })),
    serverCallsPerSecond,
    computedPerSecond,
    serviceMs,
    nodesByUtilisation,
    nodes,
    nodesWithSpare: nodes === undefined ? undefined : nodes + 1,
    node,
    meanServerMs: (1 - server.hitShare) * node.meanMs + server.hitShare * server.hitMs,
    bytesPerDay: {
      downloads,
      requests: serverCallsPerDay * server.requestKilobytes * 1000,
      responses: serverCallsPerDay * server.responseKilobytes * 1000,
    },
  };
}

/** In full batches a call has its share of the run. */
function fullBatchMs({ server: { serviceMs, batch } }: PlanInputs): number {
  return batch ? (serviceMs + (batch.most - 1) * batch.rowMs) / batch.most : serviceMs;
}

/** More nodes wait less; undefined where even ten times as many are too slow, as one call alone is. */
function fewestNodes(least: number, isEnough: (nodes: number) => boolean): number | undefined {
  for (let nodes = least; nodes <= least * 10 + 10; nodes++) if (isEnough(nodes)) return nodes;
  return undefined;
}

/**
 * How much a class of devices answers itself. A visit begins with the model in the cache, or with its download; its calls come at random,
 * the first one at once. What a visit leaves unfinished counts for nothing here, though it is resumed: the simulation knows better.
 */
function nearOf(each: DeviceClass, { callsPerVisit, secondsBetweenCalls, modelMegabytes, keptShare }: PlanInputs) {
  if (each.nearShare !== undefined) return { cachedShare: each.nearShare, calculatedNearShare: each.nearShare, fetchedShare: 0 };
  if (!each.near) return { cachedShare: 0, calculatedNearShare: 0, fetchedShare: 0 };
  const openSeconds = each.openMs / 1000;
  const downloadSeconds = openSeconds + (modelMegabytes * 8) / each.megabitsPerSecond;
  const calls = Math.max(1, Math.round(callsPerVisit));
  // A visit ends a pause after its last call: it lasts long enough where fewer pauses than calls fit into the download.
  const finished = poissonBelow(downloadSeconds / secondsBetweenCalls, calls);
  // Cached at the end of a visit, where x is cached at its beginning: x + (1 − x)·finished; of that keptShare is left at the next.
  const cachedShare = (keptShare * finished) / (1 - keptShare * (1 - finished));
  const nearAfter = (seconds: number) => 1 - callsBefore(seconds / secondsBetweenCalls, calls) / calls;
  const ready = cachedShare * nearAfter(openSeconds) + (1 - cachedShare) * nearAfter(downloadSeconds);
  return { cachedShare, calculatedNearShare: ready * (1 - each.failureShare), fetchedShare: (1 - cachedShare) * finished };
}

/** Mean number of a visit's calls in its first seconds: the first one, and a Poisson number of others. */
function callsBefore(mean: number, calls: number): number {
  if (mean === 0) return 0;
  let expected = 0;
  let probability = Math.exp(-mean);
  let rest = 1;
  for (let others = 0; others < calls - 1; others++) {
    expected += probability * (others + 1);
    rest -= probability;
    probability *= mean / (others + 1);
  }
  return expected + Math.max(0, rest) * calls;
}

/** The probability that a Poisson number is below a bound. */
function poissonBelow(mean: number, bound: number): number {
  let probability = Math.exp(-mean);
  let sum = 0;
  for (let number = 0; number < bound; number++) {
    sum += probability;
    probability *= mean / (number + 1);
  }
  return Math.min(1, sum);
}
