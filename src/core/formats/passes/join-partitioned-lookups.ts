import { type AnyTensor, bytesPerElement, createData, createTensor, elementCount, type NumericDType } from '../../tensor/index.ts';
import {
  attribute,
  type Constant,
  constNode,
  type Edge,
  edgeKey,
  type GraphNode,
  type Nodes,
  sortNodes,
  toConstant,
} from '../graph/index.ts';
import type { DerivedConstants } from './derived-constants.ts';
import { type Scope, ScopeEdit, type ScopePass } from './scope.ts';
import type { Known } from './shapes/index.ts';

/** Copies in a row that are looked through. */
const MAX_COPIES = 100;

/**
 * Reads from one table what TensorFlow 1's partitioned embeddings read from several: identifiers are divided among the partitions
 * (`DynamicPartition`, which no runtime here has), each looks its own up, and the rows are put back in order (`DynamicStitch`). That is
 * one look-up in the tables one after another, at the row within the partition plus the rows of all partitions before, whatever the
 * strategy that chose the partitions.
 */
export function joinPartitionedLookups(derived: DerivedConstants): ScopePass {
  return (scope, known) => {
    const stitches = sortNodes(scope.nodes).filter(({ op }) => op === 'DynamicStitch' || op === 'ParallelDynamicStitch');
    if (stitches.length === 0) return scope;
    const edit = new ScopeEdit(scope);
    for (const stitch of stitches) {
      const lookup = matchLookup(stitch, scope, known);
      if (lookup) writeLookup(stitch, lookup, edit, derived);
    }
    return edit.finish();
  };
}

/** A look-up in partitions. */
interface Lookup {
  readonly tables: readonly Constant[];
  /** For each identifier its partition, and its row there. */
  readonly partitions: Edge;
  readonly rows: Edge;
  readonly rowType: 'int32' | 'int64';
}

function matchLookup(stitch: GraphNode, { nodes }: Scope, known: (edge: Edge) => Known): Lookup | undefined {
  const count = stitch.inputs.length / 2;
  const places = splitOf(stitch.inputs.slice(0, count), nodes);
  if (!places || !isEveryPlace(places.data, nodes, known)) return undefined;
  const gathers = stitch.inputs.slice(count).map((edge) => gatherOf(edge, nodes, known));
  const tables = gathers.flatMap((gather) => gather?.table ?? []);
  const found = gathers.flatMap((gather) => gather?.indices ?? []);
  const rows = tables.length === count ? splitOf(found, nodes) : undefined;
  if (!rows || edgeKey(rows.partitions) !== edgeKey(places.partitions) || !fitTogether(tables)) return undefined;
  const rowType = known(rows.data).dtype;
  if (known(places.partitions).shape?.length !== 1 || known(rows.data).shape?.length !== 1) return undefined;
  if (rowType !== 'int32' && rowType !== 'int64') return undefined;
  return { tables, partitions: places.partitions, rows: rows.data, rowType };
}

/** What one DynamicPartition divides, when the edges are all its outputs in order. */
function splitOf(edges: readonly Edge[], nodes: Nodes): { readonly data: Edge; readonly partitions: Edge } | undefined {
  const sources = edges.map((edge) => throughCopies(edge, nodes));
  const node = nodes.get(sources[0]?.node ?? '');
  const [data, partitions] = node?.inputs ?? [];
  if (node?.op !== 'DynamicPartition' || attribute.numberOf(node, 'num_partitions') !== edges.length || !data || !partitions)
    return undefined;
  const isAll = sources.every((source, index) => source.node === node.name && source.index === index);
  return isAll ? { data, partitions: throughCopies(partitions, nodes) } : undefined;
}

/** Whether the elements are 0, 1, 2, …: then the rows are stitched in the order of the identifiers. */
function isEveryPlace(edge: Edge, nodes: Nodes, known: (edge: Edge) => Known): boolean {
  const node = nodes.get(throughCopies(edge, nodes).node);
  const [start, , step] = node?.inputs ?? [];
  return node?.op === 'Range' && start !== undefined && step !== undefined && isScalar(known(start), 0) && isScalar(known(step), 1);
}

function gatherOf(
  edge: Edge,
  nodes: Nodes,
  known: (edge: Edge) => Known,
): { readonly table: Constant; readonly indices: Edge } | undefined {
  const node = nodes.get(throughCopies(edge, nodes).node);
  const [params, indices, axis] = node?.inputs ?? [];
  if ((node?.op !== 'Gather' && node?.op !== 'GatherV2') || !params || !indices) return undefined;
  if (attribute.numberOf(node, 'batch_dims', 0) !== 0 || (axis && !isScalar(known(axis), 0))) return undefined;
  const table = nodes.get(throughCopies(params, nodes).node);
  return table?.op === 'Const' ? { table: attribute.constantOf(table), indices } : undefined;
}

function isScalar({ values }: Known, value: number): boolean {
  return values?.length === 1 && values[0] === value;
}

function throughCopies(edge: Edge, nodes: Nodes): Edge {
  let current = edge;
  for (let steps = MAX_COPIES; steps > 0; steps--) {
    const node = nodes.get(current.node);
    const [input] = node?.inputs ?? [];
    if (node?.op !== 'Identity' || !input) break;
    current = input;
  }
  return current;
}

function fitTogether([first, ...others]: readonly Constant[]): boolean {
  if (first === undefined || first.dtype === 'string' || first.shape.length === 0) return false;
  return others.every(({ dtype, shape }) => dtype === first.dtype && String(shape.slice(1)) === String(first.shape.slice(1)));
}

function writeLookup(stitch: GraphNode, lookup: Lookup, edit: ScopeEdit, derived: DerivedConstants): void {
  const { tables, partitions, rows, rowType } = lookup;
  const place = (suffix: string) => edit.nameFor(`${stitch.name}/${suffix}`);
  const key = `join:${tables.map((table) => derived.identify(table)).join(',')}`;
  const joined = derived.derive(key, () => joinTables(tables));
  let rowsBefore = 0;
  const firstRows = tables.map(({ shape }) => {
    const first = rowsBefore;
    rowsBefore += shape[0]!;
    return first;
  });
  const firsts =
    rowType === 'int32'
      ? createTensor('int32', [tables.length], Int32Array.from(firstRows))
      : createTensor('int64', [tables.length], BigInt64Array.from(firstRows, BigInt));
  const table = edit.set(constNode(place('table'), joined));
  const first = edit.set(constNode(place('first_rows'), toConstant(firsts)));
  const axis = edit.set(constNode(place('axis'), toConstant(createTensor('int32', [], Int32Array.of(0)))));
  const gather = (name: string, params: Edge, Tparams: Constant['dtype'], indices: Edge, Tindices: Lookup['rowType']) => {
    const types = { Tparams: attribute.type(Tparams), Tindices: attribute.type(Tindices), Taxis: attribute.type('int32') };
    const inputs = [params, indices, axis];
    return edit.set({ name, op: 'GatherV2', inputs, controls: [], attributes: { ...types, batch_dims: attribute.int(0) } });
  };
  const base = gather(place('base'), first, rowType, partitions, 'int32');
  const T = attribute.type(rowType);
  const row = edit.set({ name: place('row'), op: 'AddV2', inputs: [rows, base], controls: [], attributes: { T } });
  gather(stitch.name, table, joined.dtype, row, rowType);
}

/** The tables one after another, read when they are needed. */
function joinTables(tables: readonly Constant[]): Constant {
  const { dtype, shape: one } = tables[0]!;
  const shape = [tables.reduce((sum, table) => sum + table.shape[0]!, 0), ...one.slice(1)];
  const byteLength = elementCount(shape) * bytesPerElement(dtype as NumericDType); // fitTogether() takes no strings
  const load = async (): Promise<AnyTensor> => {
    const data = createData(dtype as NumericDType, elementCount(shape));
    const bytes = new Uint8Array(data.buffer);
    let position = 0;
    for (const table of tables) {
      const { data: part } = await table.load();
      if (!ArrayBuffer.isView(part)) continue;
      bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), position);
      position += part.byteLength;
    }
    return createTensor(dtype as NumericDType, shape, data) as AnyTensor;
  };
  return { dtype, shape, byteLength, load };
}
