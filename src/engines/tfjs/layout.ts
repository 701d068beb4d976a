import * as tf from '@tensorflow/tfjs-core';
import { NearfarError, type VariantSource } from '../../core/index.ts';
import type { TfjsBackend } from './backends.ts';
import { assertOneRuns, findProblems, type GraphSignature, readSignatures } from './check-signatures.ts';
import { type CustomNodes, createCustomNodes, type NodeFunction } from './custom-nodes.ts';
import { artifactsOf, type Executable, loadExecutable } from './executable.ts';
import { createGraph, type Graph, type GraphNode, inputsOf, type Topology, withFunctionNodes } from './graph.ts';
import { customOps, hasSeveralOutputs, isCustomNode, isDetour, isUnknownToWait, outputCount } from './graph-ops.ts';
import type { GraphVariantHost } from './graph-variant.ts';
import type { GraphModelFiles } from './model-files.ts';
import { cutFromHost, findHostNodes, planRun, type RunPlan } from './split.ts';
import { readTables, type Table } from './tables.ts';
import { selectWeights } from './weights.ts';

/** A model laid out over its backends, its weights loaded. */
export interface LaidOutModel {
  readonly graph: Graph;
  readonly signatures: readonly GraphSignature[];
  /** The CPU backend where a part runs there beside another device. */
  readonly hostBackend?: TfjsBackend | undefined;
  readonly host?: Executable | undefined;
  readonly device?: Executable | undefined;
  readonly bytes: number;
  /** How to compute outputs of a signature, `node:index`. */
  plan(signature: GraphSignature, outputs: readonly string[]): RunPlan;
  close(): Promise<void>;
}

/**
 * Checks what each signature needs, and loads what those that run need: all on the engine's backend, or, for a model with
 * operators of the host, the part up to the last of them on the CPU backend.
 * @throws {NearfarError} `unsupported` that lists all that keeps every signature from running.
 */
export async function layOut(source: VariantSource, files: GraphModelFiles, owner: GraphVariantHost): Promise<LaidOutModel> {
  const { backend } = owner;
  const { topology, tableOf } = withoutTables(files);
  const graph = createGraph(topology);
  const signatures = readSignatures(source, files, graph);
  const used = new Set(signatures.flatMap(({ nodes }) => [...nodes]));
  const host = backend.kind === 'cpu' ? new Set<string>() : findHostNodes(graph, used);
  const usedNodes = withFunctionNodes(
    [...used].map((name) => graph.nodes.get(name)!),
    graph.functions,
  );
  const custom = usedNodes.filter(isCustomNode);
  const detours = usedNodes.filter((node) => !host.has(node.name) && isDetour(node, backend.kind));
  const hostBackend = host.size > 0 || detours.length > 0 ? await owner.openHost() : undefined;
  const loaded: Executable[] = [];
  const nodes = createCustomNodes();
  const close = async () => {
    await backend.use(() => {
      for (const executable of loaded) executable[Symbol.dispose]();
    });
    nodes.remove();
    await hostBackend?.close();
  };
  try {
    const onCpu = hostBackend ?? backend;
    const computed = await computeCustom(custom, { files, topology, onCpu, tableOf });
    for (const node of detours) computed.functions.set(node, createDetour(node, hostBackend!, backend));
    for (const node of [...custom, ...detours]) {
      // Inside a function outputs are named, and the names are those of operators that the converter knows.
      if (graph.nodes.get(node.name) === node || !hasSeveralOutputs(node)) continue;
      computed.problems.set(node, 'it has several outputs and is inside a function');
    }
    const kernelsOf = ({ kind, hasKernel }: TfjsBackend) => ({ name: kind, hasKernel });
    const placement = { host, hostKernels: kernelsOf(onCpu), deviceKernels: kernelsOf(backend), badNodes: computed.problems };
    findProblems(signatures, graph, { ...placement, replaced: new Set(computed.functions.keys()) });
    assertOneRuns(source, owner.id, signatures);
    const isAsyncNode = new Set(detours.map(({ name }) => name));
    const plan = (signature: GraphSignature, outputs: readonly string[]) => planRun(graph, host, outputs, signature.fed, isAsyncNode);
    const parts = { files, topology, graph, host, signatures, plan, functions: computed.functions, nodes };
    const executables = await loadParts(parts, onCpu, owner, loaded);
    return {
      graph,
      signatures,
      hostBackend,
      ...executables,
      bytes: loaded.reduce((sum, { bytes }) => sum + bytes, 0),
      plan,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Look-ups know their tables by name: the tables' own nodes are left out of the graph. */
function withoutTables({ topology, capturedTables }: GraphModelFiles): { topology: Topology; tableOf: ReadonlyMap<string, string> } {
  const lookups = topology.node.filter(({ op }) => op.startsWith('LookupTable') && customOps.has(op));
  if (lookups.length === 0) return { topology, tableOf: new Map() };
  const tableOf = new Map(
    lookups.map((node) => {
      const table = inputsOf(node)[0]?.node ?? '';
      return [node.name, capturedTables.get(table) ?? table];
    }),
  );
  const node = topology.node.map((each) => (tableOf.has(each.name) ? { ...each, input: (each.input ?? []).slice(1) } : each));
  return { topology: { ...topology, node }, tableOf };
}

interface Computed {
  readonly functions: Map<GraphNode, NodeFunction>;
  /** Why a node has no function. */
  readonly problems: Map<GraphNode, string>;
}

interface CustomParts {
  readonly files: GraphModelFiles;
  readonly topology: Topology;
  readonly onCpu: TfjsBackend;
  readonly tableOf: ReadonlyMap<string, string>;
}

/** Functions of the nodes with operators of ours. */
async function computeCustom(custom: readonly GraphNode[], { files, topology, onCpu, tableOf }: CustomParts): Promise<Computed> {
  const functions = new Map<GraphNode, NodeFunction>();
  const problems = new Map<GraphNode, string>();
  if (custom.length === 0) return { functions, problems };
  const { createCustomOp } = await import('./custom-ops.ts');
  const fillers = [...files.initializer, ...topology.node];
  const needsTables = custom.some(({ name }) => tableOf.has(name));
  const tables: ReadonlyMap<string, Table> = needsTables
    ? await onCpu.use(() => readTables(fillers, (name) => readConstant(files, name)))
    : new Map();
  for (const node of custom) {
    try {
      functions.set(node, createCustomOp(node, { tableOf: (name) => tables.get(tableOf.get(name) ?? '') }));
    } catch (error) {
      if (!(error instanceof NearfarError) || error.code !== 'unsupported') throw error;
      problems.set(node, error.message);
    }
  }
  return { functions, problems };
}

function readConstant({ artifacts }: GraphModelFiles, name: string): tf.Tensor | undefined {
  const { weightData, weightSpecs } = selectWeights(artifacts, new Set([name]));
  return weightSpecs.length === 0 ? undefined : tf.io.decodeWeights(weightData, weightSpecs)[name];
}

/** A node that the device lacks a kernel for, computed on the CPU between two kernels of the device. */
function createDetour(node: GraphNode, hostBackend: TfjsBackend, backend: TfjsBackend): NodeFunction {
  const names = (node.input ?? []).filter((input) => !input.startsWith('^')).map((_, index) => `input${index}`);
  const placeholders = names.map((name) => ({ name, op: 'Placeholder', attr: {} }));
  const outputs = Array.from({ length: outputCount(node) }, (_, index) => `detour:${index}`);
  const modelTopology = { node: [...placeholders, { ...node, name: 'detour', input: names }], versions: {} };
  const { execute } = loadExecutable({ modelTopology, weightSpecs: [], weightData: [] });
  return async (inputs) => {
    const given = await Promise.all(names.map(async (_, index) => ({ tensor: inputs[index]!, values: await inputs[index]!.data() })));
    // No waiting from here on: the other nodes of this run are the device's.
    const selected = hostBackend.select();
    let results: { shape: number[]; dtype: tf.DataType; values: tf.TypedArray }[] = [];
    try {
      tf.tidy(() => {
        const fed = given.map(({ tensor: { shape, dtype }, values }, index) => [names[index]!, tf.tensor(values, shape, dtype)]);
        results = execute(Object.fromEntries(fed), outputs).map(({ shape, dtype, dataId }) => {
          return { shape, dtype, values: tf.engine().readSync(dataId) as tf.TypedArray };
        });
      });
    } finally {
      void backend.select();
    }
    await selected;
    return results.map(({ shape, dtype, values }) => tf.tensor(values, shape, dtype));
  };
}

interface Parts {
  readonly files: GraphModelFiles;
  readonly topology: Topology;
  readonly graph: Graph;
  readonly host: ReadonlySet<string>;
  readonly signatures: readonly GraphSignature[];
  readonly plan: LaidOutModel['plan'];
  readonly functions: ReadonlyMap<GraphNode, NodeFunction>;
  readonly nodes: CustomNodes;
}

/** Loads what the signatures that run need onto the backends. */
async function loadParts(
  parts: Parts,
  hostBackend: TfjsBackend,
  owner: GraphVariantHost,
  loaded: Executable[],
): Promise<Pick<LaidOutModel, 'host' | 'device'>> {
  const { files, topology, graph, host, signatures, functions, nodes } = parts;
  const load = (backend: TfjsBackend, artifacts: tf.io.ModelArtifacts) =>
    backend.use(() => {
      owner.signal?.throwIfAborted();
      owner.loss.assertAlive();
      const executable = loadExecutable(artifacts);
      loaded.push(executable);
      return executable;
    });
  const plans = signatures
    .filter(({ problems }) => problems.length === 0)
    .map((signature) => parts.plan(signature, outputsOf(signature, files)));
  const isMarked = (name: string) => isUnknownToWait(graph.nodes.get(name)!, (host.has(name) ? hostBackend : owner.backend).kind);
  const isPlain = functions.size === 0 && host.size === 0 && !plans.some(({ deviceNodes }) => [...deviceNodes].some(isMarked));
  if (isPlain) return { device: await load(owner.backend, files.artifacts) };

  const rewrite = (node: GraphNode) => {
    const compute = functions.get(node);
    return compute === undefined ? node : nodes.replace(node, compute);
  };
  const library = topology.library?.function ?? [];
  const rewritten: Topology = {
    ...topology,
    library: { function: library.map((body) => ({ ...body, nodeDef: (body.nodeDef ?? []).map(rewrite) })) },
  };
  const collect = (names: (plan: RunPlan) => ReadonlySet<string>) =>
    [...new Set(plans.flatMap((plan) => [...names(plan)]))].flatMap((name) => {
      const node = rewrite(graph.nodes.get(name)!);
      return isMarked(name) ? markAsync(node) : [node];
    });
  const hostNodes = collect((plan) => plan.hostNodes);
  const deviceNodes = cutFromHost(
    collect((plan) => plan.deviceNodes),
    host,
  );
  return {
    host: hostNodes.length === 0 ? undefined : await load(hostBackend, artifactsOf(hostNodes, rewritten, files)),
    device: deviceNodes.length === 0 ? undefined : await load(owner.backend, artifactsOf(deviceNodes, rewritten, files)),
  };
}

/**
 * The asynchronous executor prints a complaint at each run of a graph without an operator that it knows to need it. So a
 * merge, which hands its input on, runs before one that does.
 */
function markAsync(node: GraphNode): GraphNode[] {
  const mark = `${node.name}|wait`;
  const [first = ''] = node.input ?? [];
  return [
    { name: mark, op: 'Merge', input: [first], attr: {} },
    { ...node, input: [...(node.input ?? []), `^${mark}`] },
  ];
}

/** The graph's tensors behind the outputs of a signature. */
export function outputsOf({ bindings }: GraphSignature, files: GraphModelFiles): string[] {
  return [...new Set(bindings.outputs.map(({ tensor }) => files.outputNode(tensor)))];
}
