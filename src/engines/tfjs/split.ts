import { calledFunctions, type Graph, type GraphInput, type GraphNode, inputsOf, reachableNodes, withFunctionNodes } from './graph.ts';
import { isHostNode, isPlaceless, makesHandle, needsAsyncExecutor, passesHandle } from './graph-ops.ts';

// A model with strings, tables or tf.Examples runs in two steps: all nodes up to the last such operator on the CPU backend
// (the host), the rest on the engine's own backend (the device). What crosses over is read back from the CPU, which needs no
// waiting.

/**
 * The nodes that run on the host, out of those in use; none where there is no operator of the host's.
 * Constants and placeholders belong to whoever reads them.
 */
export function findHostNodes(graph: Graph, used: ReadonlySet<string>): ReadonlySet<string> {
  const host = new Set<string>();
  const waiting = [...used].filter((name) => isHostNode(graph.nodes.get(name)!, graph.functions));
  if (waiting.length === 0) return host;
  const groups = findGroups(graph, used);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const node = graph.nodes.get(name)!;
    if (host.has(name) || isPlaceless(node)) continue;
    host.add(name);
    waiting.push(...inputsOf(node).map((input) => input.node), ...(groups.get(name) ?? []));
  }
  return host;
}

/**
 * Nodes that must stay together, by each of their names: those that hand each other tensor lists, and those between where
 * TensorFlow 1's control flow begins and ends, whose values come many times or never.
 */
function findGroups(graph: Graph, used: ReadonlySet<string>): ReadonlyMap<string, readonly string[]> {
  const edges: [string, string][] = [];
  const readers = new Map<string, string[]>();
  for (const name of used) {
    for (const input of inputsOf(graph.nodes.get(name)!)) readers.set(input.node, [...(readers.get(input.node) ?? []), name]);
  }
  const handles = spread(
    [...used].filter((name) => makesHandle(graph.nodes.get(name)!)),
    (name) => (readers.get(name) ?? []).filter((reader) => passesHandle(graph.nodes.get(reader)!)),
  );
  for (const name of handles) for (const reader of readers.get(name) ?? []) edges.push([name, reader]);

  const isOp =
    (...ops: string[]) =>
    (name: string) =>
      ops.includes(graph.nodes.get(name)!.op);
  const inputNames = (name: string) => inputsOf(graph.nodes.get(name)!).map((input) => input.node);
  const begun = spread([...used].filter(isOp('Enter', 'Switch')), (name) => (isOp('Exit')(name) ? [] : (readers.get(name) ?? [])));
  const ending = spread([...used].filter(isOp('Exit', 'Merge')), inputNames);
  const inside = (name: string) => begun.has(name) && ending.has(name);
  for (const name of used) {
    if (inside(name)) for (const input of inputNames(name)) if (inside(input)) edges.push([input, name]);
  }

  const neighbours = new Map<string, string[]>();
  for (const [a, b] of edges) {
    neighbours.set(a, [...(neighbours.get(a) ?? []), b]);
    neighbours.set(b, [...(neighbours.get(b) ?? []), a]);
  }
  return neighbours;
}

/** Everything that can be reached from the first names. */
function spread(from: readonly string[], next: (name: string) => readonly string[]): Set<string> {
  const seen = new Set<string>();
  const waiting = [...from];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    waiting.push(...next(name));
  }
  return seen;
}

/** Where a tensor of the graph is computed, and how a run gets from the inputs to the outputs. */
export interface RunPlan {
  /** Names of nodes to feed, among those the caller has. */
  readonly hostInputs: readonly string[];
  readonly deviceInputs: readonly string[];
  /** Tensors to take from the host, `node:index`: outputs, and what the device goes on with. */
  readonly hostTensors: readonly string[];
  readonly crossing: readonly string[];
  readonly deviceTensors: readonly string[];
  readonly isHostAsync: boolean;
  readonly isDeviceAsync: boolean;
  readonly hostNodes: ReadonlySet<string>;
  readonly deviceNodes: ReadonlySet<string>;
}

/**
 * What is needed to compute `outputs` from the nodes that are fed.
 * @param asyncNodes Nodes that wait though their operators do not.
 */
export function planRun(
  graph: Graph,
  host: ReadonlySet<string>,
  outputs: readonly string[],
  fed: ReadonlySet<string>,
  asyncNodes: ReadonlySet<string>,
): RunPlan {
  const isHostTensor = (tensor: string) => isOnHost(graph.nodes.get(nodeOf(tensor))!, host);
  const deviceTensors = outputs.filter((tensor) => !isHostTensor(tensor));
  const deviceNodes = new Set<string>();
  const crossing = new Set<string>();
  const waiting = deviceTensors.map(nodeOf);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (deviceNodes.has(name)) continue;
    deviceNodes.add(name);
    if (fed.has(name)) continue;
    for (const input of inputsOf(graph.nodes.get(name)!)) {
      if (!host.has(input.node)) waiting.push(input.node);
      else if (!input.isControl) crossing.add(tensorOf(input));
    }
  }
  const hostTensors = [...new Set([...outputs.filter(isHostTensor), ...crossing])];
  const hostNodes = reachableNodes(graph, hostTensors.map(nodeOf), fed);
  const needsAsync = (names: ReadonlySet<string>) => {
    const nodes = withFunctionNodes(
      [...names].map((name) => graph.nodes.get(name)!),
      graph.functions,
    );
    return needsAsyncExecutor(nodes) || nodes.some(({ name }) => asyncNodes.has(name));
  };
  return {
    hostInputs: [...fed].filter((name) => hostNodes.has(name)),
    deviceInputs: [...fed].filter((name) => deviceNodes.has(name)),
    hostTensors,
    crossing: [...crossing],
    deviceTensors,
    isHostAsync: needsAsync(hostNodes),
    isDeviceAsync: needsAsync(deviceNodes),
    hostNodes,
    deviceNodes,
  };
}

/** A string that nothing computes (an input given back) has no place on a GPU either. */
function isOnHost(node: GraphNode, host: ReadonlySet<string>): boolean {
  return (
    host.has(node.name) || (host.size > 0 && isPlaceless(node) && Object.values(node.attr ?? {}).some(({ type }) => type === 'DT_STRING'))
  );
}

export function tensorOf({ node, index }: Pick<GraphInput, 'node' | 'index'>): string {
  return `${node}:${index}`;
}

function nodeOf(tensor: string): string {
  return tensor.split(':')[0]!;
}

/** The device's nodes, each reading a placeholder where the host has computed what it reads. */
export function cutFromHost(nodes: readonly GraphNode[], host: ReadonlySet<string>): GraphNode[] {
  const cuts = new Set<string>();
  const kept = nodes.map((node) => {
    const inputs = inputsOf(node);
    if (!inputs.some((input) => host.has(input.node))) return node;
    const input = inputs.flatMap((read) => {
      if (!host.has(read.node)) return [read.text];
      if (read.isControl) return [];
      cuts.add(tensorOf(read));
      return [cutName(tensorOf(read))];
    });
    return { ...node, input };
  });
  return [...kept, ...[...cuts].map((tensor) => ({ name: cutName(tensor), op: 'Placeholder', attr: {} }))];
}

/** Name of the placeholder that stands for a tensor of the host; TensorFlow's names never hold a bar. */
export function cutName(tensor: string): string {
  return `host|${tensor.replace(':', '|')}`;
}

/** Names of the functions that nodes call, themselves or through others. */
export function functionsOf(nodes: Iterable<GraphNode>, functions: Graph['functions']): Set<string> {
  return new Set(withFunctionNodes(nodes, functions).flatMap(calledFunctions));
}
