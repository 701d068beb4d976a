import { createRandom, exponential } from '../random.ts';
import { EventQueue } from './event-queue.ts';
import type { DeviceClass, PlanInputs } from './inputs.ts';

export interface SimulationOptions {
  readonly nodes: number;
  readonly seed: number;
  /** Calls of the day at most: beyond, a part of each hour is simulated, with the same rates and as much of the devices. */
  readonly mostCalls: number;
  /** Which node a call goes to: the less busy of two, as clients of nearfar choose, or any. */
  readonly balancing: 'two-choices' | 'random';
}

/** What happened in one hour of the day; times are of calls that servers answered. */
export interface SimulatedHour {
  readonly hour: number;
  readonly callsPerSecond: number;
  readonly serverCallsPerSecond: number;
  readonly nearShare: number;
  readonly utilisation: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly refused: number;
  /** Calls that began again on another node, as theirs went down. */
  readonly failedOver: number;
}

export interface Simulation {
  readonly nodes: number;
  readonly calls: number;
  /** How much of the day was simulated. */
  readonly dayShare: number;
  readonly nearShare: number;
  readonly refused: number;
  /** Of calls that workers answered. */
  readonly meanWaitMs: number;
  readonly meanServerMs: number;
  readonly meanBatch: number;
  readonly hours: readonly SimulatedHour[];
  /** The hour with the most calls. */
  readonly peak: SimulatedHour;
}

interface Call {
  /** When the device asked. */
  readonly at: number;
  /** When it came to the queue it is in. */
  queuedAt: number;
}

interface Node {
  readonly waiting: Call[];
  readonly running: Set<{ readonly calls: readonly Call[] }>;
  isUp: boolean;
}

type Run = { readonly calls: readonly Call[] };

type Event =
  | { readonly kind: 'call'; readonly isNear: boolean }
  | { readonly kind: 'done'; readonly node: Node; readonly run: Run }
  | { readonly kind: 'down' }
  | { readonly kind: 'up' };

const hoursOfDay = 24;
/** Most calls come in the evening. */
const peakHour = 20;

/**
 * Lets a fleet of devices live a day: visits come at random, more of them in the evening; a device downloads the model, meanwhile servers answer, and afterwards it
 * answers itself, on its next visits from the cache; what fails there goes to a server, whose nodes have queues, workers and batches, refuse
 * what is too much, and may go down in the busiest hour. The same seed gives the same day.
 */
export function simulateFleet(inputs: PlanInputs, { nodes: nodeCount, seed, mostCalls, balancing }: SimulationOptions): Simulation {
  const random = createRandom(seed);
  const { server, callsPerVisit, secondsBetweenCalls, keptShare } = inputs;
  const callsPerDay = inputs.devices * inputs.visitsPerDay * callsPerVisit;
  const dayShare = Math.min(1, mostCalls / callsPerDay);
  const seconds = 86_400 * dayShare;
  const hourSeconds = seconds / hoursOfDay;
  const fleet = createFleet(inputs, Math.max(1, Math.round(inputs.devices * dayShare)), random);
  const events = new EventQueue<Event>();
  const nodes: Node[] = Array.from({ length: nodeCount }, () => ({ waiting: [], running: new Set(), isUp: true }));
  const hours = Array.from({ length: hoursOfDay }, () => new Hour());
  const hourAt = (at: number) => hours[Math.min(hoursOfDay - 1, Math.floor(at / hourSeconds))]!; // the last one holds what ends late
  const shape = dayShape(inputs.peakFactor);
  const meanVisits = (inputs.devices * inputs.visitsPerDay) / 86_400;
  const total = { waitMs: 0, serverMs: 0, computed: 0, served: 0, runs: 0 };

  const visit = (start: number, visitedAt: number) => {
    const device = Math.floor(random() * fleet.classOf.length);
    const each = inputs.classes[fleet.classOf[device]!]!; // of the fleet
    const calls = wholeNumber(callsPerVisit, random);
    const { readyAt, end } = beginVisit(fleet, device, { at: visitedAt, each, keptShare }, random);
    let time = visitedAt;
    for (let call = 0; call < calls; call++) {
      const isReady = each.nearShare === undefined ? time >= readyAt : random() < each.nearShare;
      // What is after the end of the hour stands for what visits of the hour before leave to this one: it may be shorter than a visit.
      const at = start + ((time - start) % hourSeconds);
      events.add(at, { kind: 'call', isNear: isReady && random() >= each.failureShare });
      time += exponential(random, 1 / secondsBetweenCalls);
    }
    end(time);
  };

  const call = (at: number, { isNear }: Extract<Event, { kind: 'call' }>) => {
    const hour = hourAt(at);
    hour.calls++;
    if (isNear) {
      hour.near++;
      return;
    }
    hour.server++;
    if (random() < server.hitShare) return answered(at, { at, queuedAt: at }, server.hitMs / 1000);
    send(at, { at, queuedAt: at });
  };

  const answered = (at: number, { at: askedAt }: Call, laterSeconds = 0) => {
    const ms = (at + laterSeconds - askedAt) * 1000;
    hourAt(askedAt).times.push(ms);
    total.serverMs += ms;
    total.served++;
  };

  const send = (at: number, sent: Call) => {
    const node = chooseNode(nodes, balancing, random);
    if (!node || inFlight(node) >= server.maxInFlight) {
      hourAt(at).refused++;
      return;
    }
    sent.queuedAt = at;
    node.waiting.push(sent);
    work(at, node);
  };

  const work = (at: number, node: Node) => {
    while (node.isUp && node.running.size < server.workers && node.waiting.length > 0) {
      const calls = node.waiting.splice(0, server.batch?.most ?? 1);
      const meanMs = server.serviceMs + (calls.length - 1) * (server.batch?.rowMs ?? 0);
      const ms = server.service === 'fixed' ? meanMs : exponential(random, 1 / meanMs);
      const run: Run = { calls };
      node.running.add(run);
      for (const { queuedAt } of calls) total.waitMs += (at - queuedAt) * 1000;
      total.computed += calls.length;
      total.runs++;
      hourAt(at).busySeconds += ms / 1000;
      events.add(at + ms / 1000, { kind: 'done', node, run });
    }
  };

  const done = (at: number, { node, run }: Extract<Event, { kind: 'done' }>) => {
    // Of a node that went down meanwhile: its calls are elsewhere.
    if (!node.running.delete(run)) return;
    for (const each of run.calls) answered(at, each);
    work(at, node);
  };

  const goDown = (at: number) => {
    for (const node of nodes.slice(0, server.nodesDown)) {
      node.isUp = false;
      const lost = [...[...node.running].flatMap(({ calls }) => calls), ...node.waiting.splice(0)];
      node.running.clear();
      hourAt(at).failedOver += lost.length;
      for (const each of lost) send(at, each);
    }
  };

  for (let hour = 0; hour < hoursOfDay; hour++) {
    const start = hour * hourSeconds;
    const visitsPerSecond = meanVisits * shape((hour + 0.5) / hoursOfDay);
    for (let at = start + exponential(random, visitsPerSecond); at < start + hourSeconds; at += exponential(random, visitsPerSecond)) {
      visit(start, at);
    }
  }
  if (server.nodesDown > 0) {
    events.add(peakHour * hourSeconds, { kind: 'down' });
    events.add((peakHour + 1) * hourSeconds, { kind: 'up' });
  }
  for (let next = events.take(); next; next = events.take()) {
    const { at, event } = next;
    if (event.kind === 'call') call(at, event);
    else if (event.kind === 'done') done(at, event);
    else if (event.kind === 'down') goDown(at);
    else for (const node of nodes) node.isUp = true;
  }

  const sum = (of: (hour: Hour) => number) => hours.reduce((so, hour) => so + of(hour), 0);
  const told = hours.map((hour, index) => hour.tell(index, hourSeconds, nodeCount * server.workers));
  const calls = sum((hour) => hour.calls);
  return {
    nodes: nodeCount,
    calls,
    dayShare,
    nearShare: sum((hour) => hour.near) / Math.max(1, calls),
    refused: sum((hour) => hour.refused),
    meanWaitMs: total.waitMs / Math.max(1, total.computed),
    meanServerMs: total.serverMs / Math.max(1, total.served),
    meanBatch: total.computed / Math.max(1, total.runs),
    hours: told,
    peak: told.reduce((most, hour) => (hour.callsPerSecond > most.callsPerSecond ? hour : most)),
  };
}

class Hour {
  calls = 0;
  near = 0;
  server = 0;
  refused = 0;
  failedOver = 0;
  busySeconds = 0;
  readonly times: number[] = [];

  tell(hour: number, seconds: number, workers: number): SimulatedHour {
    const sorted = Float64Array.from(this.times).sort();
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    return {
      hour,
      callsPerSecond: this.calls / seconds,
      serverCallsPerSecond: this.server / seconds,
      nearShare: this.near / Math.max(1, this.calls),
      utilisation: this.busySeconds / seconds / workers,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      refused: this.refused,
      failedOver: this.failedOver,
    };
  }
}

function inFlight({ waiting, running }: Node): number {
  return waiting.length + [...running].reduce((sum, { calls }) => sum + calls.length, 0);
}

function chooseNode(nodes: readonly Node[], balancing: SimulationOptions['balancing'], random: () => number): Node | undefined {
  const up = nodes.filter(({ isUp }) => isUp);
  const any = () => up[Math.floor(random() * up.length)];
  const first = any();
  if (balancing === 'random' || !first) return first;
  const second = any() ?? first;
  return inFlight(second) < inFlight(first) ? second : first;
}

interface Fleet {
  /** Index of each device's class. */
  readonly classOf: Uint8Array;
  /** What each device has still to download. */
  readonly missingBits: Float64Array;
  readonly modelBits: number;
}

/** Visits of each device before the day begins, so that caches are as full as they are on any day. */
const earlierVisits = 20;

function createFleet(inputs: PlanInputs, devices: number, random: () => number): Fleet {
  const { classes, callsPerVisit, secondsBetweenCalls, keptShare } = inputs;
  const modelBits = inputs.modelMegabytes * 8e6;
  const fleet: Fleet = { classOf: new Uint8Array(devices), missingBits: new Float64Array(devices).fill(modelBits), modelBits };
  for (let device = 0; device < devices; device++) {
    let left = random();
    const index = classes.findIndex(({ share }) => {
      left -= share;
      return left < 0;
    });
    fleet.classOf[device] = index === -1 ? classes.length - 1 : index;
    const each = classes[fleet.classOf[device]!]!; // just set
    if (!each.near || each.nearShare !== undefined) continue;
    for (let visit = 0; visit < earlierVisits; visit++) {
      const { end } = beginVisit(fleet, device, { at: 0, each, keptShare }, random);
      const calls = wholeNumber(callsPerVisit, random);
      let time = 0;
      for (let call = 0; call < calls; call++) time += exponential(random, 1 / secondsBetweenCalls);
      end(time);
    }
  }
  return fleet;
}

interface VisitStart {
  readonly at: number;
  readonly each: DeviceClass;
  readonly keptShare: number;
}

/** When the device can answer itself in this visit; what it has downloaded by its end is kept for the next. */
function beginVisit({ missingBits, modelBits }: Fleet, device: number, { at, each, keptShare }: VisitStart, random: () => number) {
  if (!each.near) return { readyAt: Number.POSITIVE_INFINITY, end: () => {} };
  if (random() >= keptShare) missingBits[device] = modelBits;
  const missing = missingBits[device]!; // of the fleet
  const bitsPerSecond = each.megabitsPerSecond * 1e6;
  const readyAt = at + missing / bitsPerSecond + each.openMs / 1000;
  const end = (time: number) => {
    missingBits[device] = Math.max(0, missing - (time - at) * bitsPerSecond);
  };
  return { readyAt, end };
}

/** 2.3 is 2 or 3, and 2.3 in the mean. */
function wholeNumber(mean: number, random: () => number): number {
  const whole = Math.floor(mean);
  return Math.max(1, whole + (random() < mean - whole ? 1 : 0));
}

/** The rate by the time of the day, 0 to 1, by its mean: a smooth day (von Mises) whose highest point is the peak factor. */
function dayShape(peakFactor: number): (time: number) => number {
  const steps = 288;
  const curve = (sharpness: number, time: number) =>
    Math.exp(sharpness * (Math.cos(2 * Math.PI * (time - (peakHour + 0.5) / hoursOfDay)) - 1));
  const mean = (sharpness: number) => {
    let sum = 0;
    for (let step = 0; step < steps; step++) sum += curve(sharpness, step / steps);
    return sum / steps;
  };
  let low = 0;
  let high = 1000;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (1 / mean(middle) < peakFactor) low = middle;
    else high = middle;
  }
  const scale = 1 / mean(low);
  return (time) => curve(low, time) * scale;
}
