import {
  type BackendId,
  type Manifest,
  NearfarError,
  resolveBindings,
  type SignatureBindings,
  type VariantSource,
} from '../../core/index.ts';
import { type Graph, type GraphNode, nodeName, reachableNodes, withFunctionNodes } from './graph.ts';
import { type KernelSource, unsupportedOps } from './graph-ops.ts';
import type { GraphModelFiles } from './model-files.ts';

/** One signature of a variant as its graph has it. */
export interface GraphSignature {
  readonly name: string;
  readonly bindings: SignatureBindings;
  /** Nodes that are fed. */
  readonly fed: ReadonlySet<string>;
  /** Nodes that all outputs need. */
  readonly nodes: ReadonlySet<string>;
  /** What keeps it from running; empty when it runs. */
  readonly problems: string[];
}

/** Each signature with the nodes it needs. */
export function readSignatures({ manifest, variant }: VariantSource, files: GraphModelFiles, graph: Graph): GraphSignature[] {
  return Object.keys(manifest.signatures).map((name) => {
    const bindings = resolveBindings(manifest, variant, name);
    const inputs = bindings.inputs.map((binding) => ({ ...binding, node: nodeName(files.inputNode(binding.tensor)) }));
    const outputs = bindings.outputs.map((binding) => ({ ...binding, node: nodeName(files.outputNode(binding.tensor)) }));
    const fed = new Set(inputs.map(({ node }) => node));
    const nodes = reachableNodes(
      graph,
      outputs.map(({ node }) => node),
      fed,
    );
    const isMissing = ({ node }: { readonly node: string }) => !graph.nodes.has(node);
    const open = [...nodes].filter((node) => graph.nodes.get(node)!.op === 'Placeholder' && !fed.has(node));
    const problems = [
      ...inputs.filter(isMissing).map((input) => `input ${name}.${input.name} needs "${input.tensor}"`),
      ...outputs.filter(isMissing).map((output) => `output ${name}.${output.name} needs "${output.tensor}"`),
      ...open.map((node) => `it needs the placeholder ${node}, which is none of its inputs`),
    ];
    return { name, bindings, fed, nodes, problems };
  });
}

/** Where nodes run, and what is wrong with some of them. */
export interface Placement {
  readonly host: ReadonlySet<string>;
  readonly hostKernels: KernelSource;
  readonly deviceKernels: KernelSource;
  /** What is wrong with a node of an operator of ours. */
  readonly badNodes: ReadonlyMap<GraphNode, string>;
  /** Nodes that are computed in another way than by their operator. */
  readonly replaced: ReadonlySet<GraphNode>;
}

/** Adds to each signature what its nodes and the functions they call lack. */
export function findProblems(signatures: readonly GraphSignature[], graph: Graph, placement: Placement): void {
  const { host, hostKernels, deviceKernels, badNodes, replaced } = placement;
  for (const { nodes, problems, fed } of signatures) {
    const own = [...nodes].filter((name) => !fed.has(name));
    const nodesOf = (isHost: boolean) => {
      const here = own.filter((name) => host.has(name) === isHost).map((name) => graph.nodes.get(name)!);
      return withFunctionNodes(here, graph.functions).filter((node) => !replaced.has(node));
    };
    problems.push(...unsupportedOps(nodesOf(true), hostKernels), ...unsupportedOps(nodesOf(false), deviceKernels));
    for (const node of withFunctionNodes(
      [...nodes].map((name) => graph.nodes.get(name)!),
      graph.functions,
    )) {
      const why = badNodes.get(node);
      if (why !== undefined) problems.push(`operator ${node.op} (node "${node.name}") is not supported: ${why}`);
    }
  }
}

/**
 * That at least one signature runs: a bad one does not fail the good ones.
 * @throws {NearfarError} `unsupported` with the problems of all.
 */
export function assertOneRuns(source: VariantSource, backend: BackendId, signatures: readonly GraphSignature[]): void {
  if (signatures.length === 0 || signatures.some(({ problems }) => problems.length === 0)) return;
  throw refusal(source, backend, signatures);
}

/** @throws {NearfarError} `unsupported` with all that keeps the signature from running. */
export function assertRuns(source: VariantSource, backend: BackendId, signature: GraphSignature, all: readonly GraphSignature[]): void {
  if (signature.problems.length > 0) throw refusal(source, backend, [signature], all);
}

function refusal(
  { manifest, variant }: { readonly manifest: Manifest; readonly variant: VariantSource['variant'] },
  backend: BackendId,
  refused: readonly GraphSignature[],
  all: readonly GraphSignature[] = refused,
): NearfarError {
  const problems = [...new Set(refused.flatMap((signature) => signature.problems))];
  const running = all.filter((signature) => signature.problems.length === 0).map(({ name }) => name);
  const names = refused.map(({ name }) => `"${name}"`).join(', ');
  const rest = running.length > 0 ? `. Signatures that run: ${running.join(', ')}` : '';
  const message = `model "${manifest.name}" version ${manifest.version}, signature ${names} cannot run on ${backend} (variant ${variant.id}): ${problems.join('; ')}${rest}`;
  return new NearfarError('unsupported', message, { details: { variant: variant.id, backend, problems, running } });
}
