import { type Edge, type GraphNode, type Nodes, sortNodes } from '../graph/index.ts';

/**
 * Makes TensorFlow 1's loops (Enter, Merge, Switch, NextIteration, Exit) run on tfjs-converter, which differs from TensorFlow in two ways.
 *
 * A node that reads only what does not change in the loop (through `Enter` with `is_constant`) runs in the first turn and never again: it
 * gets its first input through an Identity that waits for the loop's Merge, so that every turn wakes it. And a value from outside that
 * comes late wakes only the first turn, while the counters run ahead: the variables of the loop wait for all such values.
 */
export function settleLoops(nodes: Nodes): Nodes {
  if (![...nodes.values()].some(({ op }) => op === 'Enter')) return nodes;
  const sorted = sortNodes(nodes);
  const frames = framesOf(sorted);
  const settled = new Map<string, GraphNode>();
  const holders = new Map<string, string[]>();
  for (const node of sorted) {
    const settledNode = isIdle(node, frames) ? wake(node, frames, nodes, settled) : node;
    settled.set(node.name, settledNode);
    const [source] = settledNode.inputs;
    if (node.op !== 'Enter' || !isConstantEnter(node) || !source || nodes.get(source.node)?.op === 'Const') continue;
    const holder = identity(freeName(`${node.name}/outside`, nodes, settled), source, []);
    settled.set(holder.name, holder);
    settled.set(node.name, { ...settledNode, inputs: [{ node: holder.name, index: 0 }] });
    const frame = frameName(node);
    holders.set(frame, [...(holders.get(frame) ?? []), holder.name]);
  }
  const waits = new Map(
    [...holders].map(([frame, [held, ...others]]): [string, string] => {
      if (others.length === 0) return [frame, held!];
      // One to wait for, so that many variables and many values from outside do not multiply.
      const all = identity(freeName(`${held}/all`, nodes, settled), { node: held!, index: 0 }, others);
      settled.set(all.name, all);
      return [frame, all.name];
    }),
  );
  for (const node of sorted) {
    const wait = node.op === 'Enter' && !isConstantEnter(node) ? waits.get(frameName(node)) : undefined;
    const entered = settled.get(node.name)!;
    if (wait) settled.set(node.name, { ...entered, controls: [...entered.controls, wait] });
  }
  return settled;
}

const ROOT = '';

interface Frames {
  /** Frame that each node runs in; `Enter` and `Exit` in the one that they read from. */
  readonly of: Map<string, string>;
  /** Frame that a node's outputs are in. */
  readonly after: Map<string, string>;
  /** Nodes whose outputs appear anew in every turn of their frame. */
  readonly alive: Set<string>;
  /** A node of each frame that runs in every turn. */
  readonly pivots: Map<string, string>;
}

/** A frame lies in the deepest of those that its variables come from, which the first of them need not show. */
function framesOf(sorted: readonly GraphNode[]): Frames {
  const parents = new Map<string, string>();
  let frames = traceFrames(sorted, parents);
  for (let known = -1, round = 0; known !== deepest(parents) && round < MAX_ROUNDS; round++) {
    known = deepest(parents);
    frames = traceFrames(sorted, parents);
  }
  return frames;
}

/** Loops nest a few deep; each round settles one level. */
const MAX_ROUNDS = 64;

/** Grows with each frame that moves deeper. */
function deepest(parents: ReadonlyMap<string, string>): number {
  return [...parents.keys()].reduce((sum, frame) => sum + depthOf(frame, parents), 0);
}

function depthOf(frame: string, parents: ReadonlyMap<string, string>): number {
  let depth = 0;
  for (let at: string | undefined = frame; at !== undefined && at !== ROOT && depth < MAX_ROUNDS; at = parents.get(at)) depth++;
  return depth;
}

function traceFrames(sorted: readonly GraphNode[], parents: Map<string, string>): Frames {
  const frames: Frames = { of: new Map(), after: new Map(), alive: new Set(), pivots: new Map() };
  for (const node of sorted) {
    const sources = [...node.inputs.map((input) => input.node), ...node.controls];
    const entered = node.op === 'Enter' ? frameName(node) : undefined;
    let frame = (entered === undefined ? undefined : parents.get(entered)) ?? ROOT;
    for (const source of sources) {
      const candidate = frames.after.get(source) ?? ROOT; // a NextIteration comes later
      if (candidate !== entered && depthOf(candidate, parents) > depthOf(frame, parents)) frame = candidate;
    }
    frames.of.set(node.name, frame);
    const isAlive = sources.some((source) => frames.after.get(source) === frame && frames.alive.has(source));
    if (entered !== undefined) {
      parents.set(entered, frame);
      frames.after.set(node.name, entered);
      if (!isConstantEnter(node)) frames.alive.add(node.name);
    } else if (node.op === 'Exit') {
      frames.after.set(node.name, parents.get(frame) ?? ROOT);
      frames.alive.add(node.name);
    } else {
      frames.after.set(node.name, frame);
      if (isAlive) frames.alive.add(node.name);
      if (node.op === 'Merge' && isAlive && !frames.pivots.has(frame)) frames.pivots.set(frame, node.name);
    }
  }
  return frames;
}

/** Whether nothing would wake the node in the turns after the first. */
function isIdle(node: GraphNode, frames: Frames): boolean {
  const frame = frames.of.get(node.name)!;
  if (frame === ROOT || node.inputs.length === 0) return false;
  const sources = [...node.inputs.map((input) => input.node), ...node.controls];
  return !sources.some((source) => frames.after.get(source) === frame && frames.alive.has(source));
}

function wake(node: GraphNode, frames: Frames, nodes: Nodes, settled: Map<string, GraphNode>): GraphNode {
  const frame = frames.of.get(node.name)!;
  const pivot = frames.pivots.get(frame);
  const [first, ...rest] = node.inputs;
  if (pivot === undefined || !first) return node;
  const woken = identity(freeName(`${node.name}/each_turn`, nodes, settled), first, [pivot]);
  settled.set(woken.name, woken);
  frames.alive.add(node.name);
  return { ...node, inputs: [{ node: woken.name, index: 0 }, ...rest] };
}

function identity(name: string, input: Edge, controls: readonly string[]): GraphNode {
  return { name, op: 'Identity', inputs: [input], controls, attributes: {} };
}

function frameName({ attributes: { frame_name: name } }: GraphNode): string {
  return name?.kind === 'string' ? name.value : 'frame';
}

function isConstantEnter({ op, attributes: { is_constant: constant } }: GraphNode): boolean {
  return op === 'Enter' && constant?.kind === 'bool' && constant.value;
}

function freeName(wanted: string, nodes: Nodes, settled: Nodes): string {
  let name = wanted;
  for (let number = 1; nodes.has(name) || settled.has(name); number++) name = `${wanted}_${number}`;
  return name;
}
