import {
  type Attribute,
  type Constant,
  edgeKey,
  type GraphNode,
  inferShapes,
  type ModelGraph,
  type Nodes,
  type OnnxOutline,
  type PartialShape,
  type ShapeTable,
  sortNodes,
} from '../core/index.ts';

/** What the nodes of a drawing are coloured by. */
export const nodeKinds = [
  'input',
  'output',
  'convolution',
  'matrix',
  'normalization',
  'activation',
  'pooling',
  'reduction',
  'arithmetic',
  'shape',
  'control',
  'text',
  'group',
  'other',
] as const;
export type NodeKind = (typeof nodeKinds)[number];

/** A graph as it is drawn: constants are told at the nodes that read them. */
export interface Diagram {
  /** The graph itself, or the name of a function. */
  readonly name: string;
  readonly nodes: readonly DiagramNode[];
  readonly edges: readonly DiagramEdge[];
  /** Nodes of the model, of which a drawn one may stand for many. */
  readonly count: number;
}

export interface DiagramNode {
  readonly id: string;
  readonly op: string;
  /** Second line: the shape of the first output. */
  readonly detail: string;
  readonly kind: NodeKind;
  /** What is told of the node when it is chosen. */
  readonly facts: readonly (readonly [label: string, value: string])[];
}

export interface DiagramEdge {
  readonly from: string;
  readonly to: string;
}

/** More boxes than this on one page help nobody: nodes are put together by the scopes of their names. */
export const MAX_DRAWN_NODES = 1500;
/** How many boxes they are put together to, at most. */
const MAX_GROUPS = 400;

/** The graph of a model and its functions. */
export async function diagramsOfGraph(model: ModelGraph): Promise<Diagram[]> {
  const shapes = await inferShapes(model);
  const main = summarize(drawNodes('', model.nodes, shapes, { ends: endsOf(model), inputs: inputNames(model) }));
  const functions = [...model.functions].sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    main,
    ...functions.map(([name, { nodes, outputs }]) => {
      const ends = outputs.map((edge, index) => ({ label: `result ${index}`, edge, signatures: [] as string[] }));
      return summarize(drawNodes(name, nodes, shapes, { ends, inputs: new Map() }));
    }),
  ];
}

/** Where a graph ends: what its signatures give out. */
interface End {
  readonly label: string;
  readonly edge: { readonly node: string; readonly index: number };
  readonly signatures: readonly string[];
}

function endsOf({ signatures }: ModelGraph): End[] {
  const ends = new Map<string, { label: string; edge: End['edge']; signatures: string[] }>();
  for (const [signature, { outputs }] of Object.entries(signatures)) {
    for (const [name, { edge }] of Object.entries(outputs)) {
      const key = `${edgeKey(edge)} ${name}`;
      const end = ends.get(key) ?? { label: name, edge, signatures: [] };
      end.signatures.push(signature);
      ends.set(key, end);
    }
  }
  return [...ends.values()];
}

/** The names that signatures give to placeholders. */
function inputNames({ signatures }: ModelGraph): ReadonlyMap<string, string> {
  const names = new Map<string, Set<string>>();
  for (const { inputs } of Object.values(signatures)) {
    for (const [name, { node }] of Object.entries(inputs)) names.set(node, (names.get(node) ?? new Set()).add(name));
  }
  return new Map([...names].map(([node, given]) => [node, [...given].join(', ')]));
}

interface Borders {
  readonly ends: readonly End[];
  readonly inputs: ReadonlyMap<string, string>;
}

function drawNodes(functionName: string, all: Nodes, shapes: ShapeTable, { ends, inputs: inputsByNode }: Borders): Diagram {
  const tensorOf = (edge: End['edge']) => {
    const { dtype, shape } = shapes.of(edge, functionName);
    return { dtype: dtype === 'variant' ? 'unknown' : dtype, shape };
  };
  const nodes: DiagramNode[] = [];
  const edges: DiagramEdge[] = [];
  const drawn = sortNodes(all).filter((node) => !constantBehind(node, all));
  const names = new Set(drawn.map(({ name }) => name));
  const isDrawn = (name: string) => names.has(name);
  for (const node of drawn) {
    const first = tensorOf({ node: node.name, index: 0 });
    const inputs = node.inputs.map((edge, index): [string, string] => {
      const source = all.get(edge.node);
      const constant = source && constantBehind(source, all);
      const { dtype, shape } = constant ?? tensorOf(edge);
      const size = constant ? `, ${formatBytes(constant.byteLength)}` : '';
      return [
        `${constant ? 'weight' : 'input'} ${index}`,
        `${edge.node}${edge.index > 0 ? `:${edge.index}` : ''} · ${dtype} ${formatShape(shape)}${size}`,
      ];
    });
    nodes.push({
      id: node.name,
      op: inputsByNode.get(node.name) ?? node.op,
      detail: formatShape(first.shape, ''),
      kind: kindOf(node.op),
      facts: [
        ['name', node.name],
        ['operator', node.op],
        ['output', `${first.dtype} ${formatShape(first.shape)}`],
        ...inputs,
        ...attributesOf(node),
      ],
    });
    const sources = new Set([...node.inputs.map((edge) => edge.node), ...node.controls]);
    for (const source of sources) if (isDrawn(source)) edges.push({ from: source, to: node.name });
  }
  for (const { label, edge, signatures } of ends) {
    const id = `output ${edgeKey(edge)} ${label}`;
    const { dtype, shape } = tensorOf(edge);
    const facts: [string, string][] = [
      ['output', label],
      ['tensor', `${dtype} ${formatShape(shape)}`],
    ];
    if (signatures.length > 0) facts.push(['signatures', signatures.join(', ')]);
    nodes.push({ id, op: label, detail: formatShape(shape, ''), kind: 'output', facts });
    // What is a constant is drawn by its output alone.
    if (isDrawn(edge.node)) edges.push({ from: edge.node, to: id });
  }
  return { name: functionName, nodes, edges, count: drawn.length };
}

/** The main graph of an ONNX file; graphs inside of its nodes are not drawn. */
export function diagramOfOnnx({ nodes: all, inputs, outputs, weights, tensors }: OnnxOutline): Diagram {
  const maker = new Map<string, string>();
  const nodes: DiagramNode[] = [];
  const edges: DiagramEdge[] = [];
  const shapeOf = (name: string) => formatShape(tensors.get(name)?.shape, '');
  const describe = (name: string) => {
    const tensor = tensors.get(name);
    return tensor ? ` · ${tensor.dtype} ${formatShape(tensor.shape)}` : '';
  };
  for (const name of inputs) {
    const id = `input ${name}`;
    maker.set(name, id);
    nodes.push({ id, op: name, detail: shapeOf(name), kind: 'input', facts: [['input', `${name}${describe(name)}`]] });
  }
  const ids = all.map(({ name }, index) => (name === '' ? `node ${index}` : `${name} #${index}`));
  for (const [index, node] of all.entries()) for (const output of node.outputs) if (output !== '') maker.set(output, ids[index]!);
  for (const [index, node] of all.entries()) {
    const read = node.inputs.flatMap((name, position): [string, string][] => {
      if (name === '') return [];
      const weight = weights.get(name);
      if (!weight) return [[`input ${position}`, `${name}${describe(name)}`]];
      return [
        [`weight ${position}`, `${name} · ${weight.dtype ?? 'other'} ${formatShape(weight.shape)}, ${formatBytes(weight.byteLength)}`],
      ];
    });
    const made = node.outputs.map((name, position): [string, string] => [`output ${position}`, `${name}${describe(name)}`]);
    nodes.push({
      id: ids[index]!,
      op: node.op,
      detail: shapeOf(node.outputs[0] ?? ''),
      kind: kindOf(node.op),
      facts: [
        ...(node.name === '' ? [] : [['name', node.name] as const]),
        ...made,
        ['operator', node.op],
        ...read,
        ...Object.entries(node.attributes),
      ],
    });
    for (const from of new Set(node.inputs.map((name) => maker.get(name)))) if (from !== undefined) edges.push({ from, to: ids[index]! });
  }
  for (const name of outputs) {
    const id = `output ${name}`;
    nodes.push({ id, op: name, detail: shapeOf(name), kind: 'output', facts: [['output', `${name}${describe(name)}`]] });
    const from = maker.get(name);
    if (from !== undefined) edges.push({ from, to: id });
  }
  return summarize({ name: '', nodes, edges, count: all.length });
}

/** With too many nodes, one box for each scope of names, as deep as there is room for. */
function summarize(diagram: Diagram): Diagram {
  if (diagram.nodes.length <= MAX_DRAWN_NODES) return diagram;
  const isEnd = ({ kind }: DiagramNode) => kind === 'input' || kind === 'output';
  const inner = diagram.nodes.filter((node) => !isEnd(node));
  const scopeAt = (depth: number) => (node: DiagramNode) => node.id.split('/').slice(0, depth).join('/');
  const countOf = (group: (node: DiagramNode) => string) => new Set(inner.map(group)).size;
  let depth = 0;
  while (depth < 16 && countOf(scopeAt(depth + 1)) <= MAX_GROUPS) depth += 1;
  const position = new Map(inner.map((node, index) => [node, index]));
  // Names without scopes: neighbours in the order of the computation.
  const perGroup = Math.ceil(inner.length / (MAX_GROUPS / 2));
  const stretch = (node: DiagramNode) => `step ${Math.floor((position.get(node) ?? 0) / perGroup) + 1}`;
  const groupOf = depth > 0 && countOf(scopeAt(depth)) > 1 ? scopeAt(depth) : stretch;
  return group(diagram, (node) => (isEnd(node) ? node.id : groupOf(node)));
}

function group(diagram: Diagram, groupOf: (node: DiagramNode) => string): Diagram {
  const members = new Map<string, DiagramNode[]>();
  const home = new Map<string, string>();
  for (const node of diagram.nodes) {
    const key = groupOf(node);
    home.set(node.id, key);
    const list = members.get(key);
    if (list) list.push(node);
    else members.set(key, [node]);
  }
  const nodes = [...members].map(([id, list]): DiagramNode => {
    const [only] = list;
    if (only && list.length === 1) return { ...only, id };
    const ops = countOps(list.map(({ op }) => op));
    const facts = Object.entries(ops).map(([op, count]): [string, string] => [op, `${count}`]);
    return { id, op: id.split('/').at(-1) ?? id, detail: `${list.length} nodes`, kind: 'group', facts: [['scope', id], ...facts] };
  });
  const edges = new Map<string, DiagramEdge>();
  for (const { from, to } of diagram.edges) {
    const [start, end] = [home.get(from), home.get(to)];
    if (start !== undefined && end !== undefined && start !== end) edges.set(JSON.stringify([start, end]), { from: start, to: end });
  }
  return { ...diagram, nodes, edges: [...edges.values()] };
}

/** How often each operator occurs, the most frequent first. */
export function countOps(ops: Iterable<string>): Record<string, number> {
  const counts = new Map<string, number>();
  for (const op of ops) counts.set(op, (counts.get(op) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a, many], [b, few]) => few - many || (a < b ? -1 : 1)));
}

const kinds: readonly (readonly [NodeKind, RegExp])[] = [
  ['input', /^(Placeholder.*|_Arg)$/],
  [
    'control',
    /^(Stateless)?(While|If|Case)$|^(Loop|Scan|Switch|Merge|Enter|Exit|NextIteration|LoopCond)$|^(TensorList|TensorArray|Sequence)/,
  ],
  ['text', /String|Regex|Table|Parse|Decode|Ragged|Tokenizer|Vocab|Unicode/],
  ['convolution', /Conv/],
  ['matrix', /MatMul|Gemm|Einsum/],
  ['normalization', /Norm|^LRN$/],
  ['pooling', /Pool/],
  [
    'activation',
    /^(Relu|Relu6|LeakyRelu|PRelu|Prelu|Elu|Selu|Celu|ThresholdedRelu|Sigmoid|HardSigmoid|HardSwish|Tanh|Softmax|LogSoftmax|Softplus|Softsign|Gelu|Erf|Mish|Clip|ClipByValue)$/,
  ],
  ['reduction', /^(Mean|Sum|Max|Min|Prod|All|Any|Arg(Max|Min)|Reduce.*|Cumsum|CumSum|TopK.*|.*NonMaxSuppression.*)$/],
  [
    'shape',
    /Reshape|Transpose|Concat|Slice|Gather|Split|Pack|Stack|Squeeze|ExpandDims|Pad|Tile|Expand|Shape|Cast|Fill|Range|Resize|Flatten|Identity|Broadcast|Reverse|SpaceTo|DepthTo|OneHot|Where|Rank|^Size$|QuantizeLinear/,
  ],
  [
    'arithmetic',
    /^(Add.*|Sub|Mul|Div.*|RealDiv|FloorDiv|FloorMod|Mod|Pow|Neg|Abs|Sqrt|Rsqrt|Exp|Log|Log1p|Square|SquaredDifference|Maximum|Minimum|Sign|Floor|Ceil|Round|Rint|Reciprocal|Sin|Cos|Greater.*|Less.*|Equal|NotEqual|Logical.*|And|Or|Not|Xor|Select.*|BiasAdd|Bitwise.*|.*QLinearAdd|.*QLinearMul)$/,
  ],
];

function kindOf(op: string): NodeKind {
  return kinds.find(([, pattern]) => pattern.test(op))?.[0] ?? 'other';
}

/** Reads of variables are identities of constants; more than this in a row there are not. */
const MAX_IDENTITIES = 8;

/** The constant that a node is, or only hands on. */
function constantBehind(node: GraphNode, all: Nodes): Constant | undefined {
  let source: GraphNode | undefined = node;
  for (let steps = 0; source?.op === 'Identity' && steps < MAX_IDENTITIES; steps++) source = all.get(source.inputs[0]?.node ?? '');
  const value = source?.op === 'Const' ? source.attributes['value'] : undefined;
  return value?.kind === 'tensor' ? value.value : undefined;
}

function attributesOf({ attributes }: GraphNode): [string, string][] {
  return Object.entries(attributes)
    .filter(([name]) => !name.startsWith('_'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => [name, formatAttribute(value)]);
}

/** Lists of more items are cut. */
const MAX_ITEMS = 32;

function formatAttribute(attribute: Attribute): string {
  switch (attribute.kind) {
    case 'string':
      return JSON.stringify(attribute.value);
    case 'shape':
      return formatShape(attribute.value);
    case 'tensor':
      return `${attribute.value.dtype} ${formatShape(attribute.value.shape)}, ${formatBytes(attribute.value.byteLength)}`;
    case 'list': {
      const rest = attribute.value.length > MAX_ITEMS ? `, and ${attribute.value.length - MAX_ITEMS} more` : '';
      return `[${attribute.value.slice(0, MAX_ITEMS).map(formatAttribute).join(', ')}${rest}]`;
    }
    default:
      return String(attribute.value);
  }
}

/** `[?, 224, 224, 3]`. */
export function formatShape(shape: PartialShape, unknown = 'any shape'): string {
  if (shape?.length === 0) return 'scalar';
  return shape ? `[${shape.map((size) => (size < 0 ? '?' : size)).join(', ')}]` : unknown;
}

/** `14.2 MB`, in powers of ten. */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB'];
  const power = Math.min(bytes < 1000 ? 0 : Math.floor(Math.log10(bytes) / 3), units.length - 1);
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
}
