import { NearfarError } from '../../errors.ts';
import { createTensor, elementCount } from '../../tensor/index.ts';
import { type Constant, type Edge, edgeKey, toConstant } from '../graph/index.ts';
import type { ModelFolder } from '../model-folder.ts';
import type { TensorBundle } from './bundle.ts';
import { damaged } from './damaged.ts';
import { dtypeOfNumber } from './data-types.ts';
import type { FlatNode, Scope } from './flatten.ts';
import { isTable, isVariable, originOf, runBy, stateKey } from './handles.ts';
import type { Extent } from './ordered-code.ts';
import { constantOfProto } from './tensor.ts';
import { readVocabulary } from './vocabulary.ts';

// What variables and tables hold when a model has been loaded. TensorFlow runs two operators then: the saver's restore operator and the
// initialiser; what they would write is read off the graph. So one path serves reference variables, resource variables and those of
// TensorFlow 2, however they are named.

export interface Table {
  readonly keys: Constant;
  readonly values: Constant;
}

export type VariableValue =
  | { readonly kind: 'constant'; readonly constant: Constant }
  /** What the initialiser computes. */
  | { readonly kind: 'edge'; readonly edge: Edge }
  | { readonly kind: 'missing'; readonly reason: string };

export interface State {
  variable(node: FlatNode): VariableValue;
  table(node: FlatNode): Table | { readonly reason: string };
}

/** A tensor among the saved ones, or a part of it. */
export interface SavedName {
  readonly name: string;
  readonly slice?: readonly Extent[];
}

export interface StateSource {
  /** Undefined when there are no variables. */
  readonly bundle: TensorBundle | undefined;
  readonly restore: readonly string[];
  readonly initialize: readonly string[];
  /** Paths of asset files by the nodes that hold their names. */
  readonly assets: ReadonlyMap<string, string>;
  readonly folder: ModelFolder;
  /** Where variables are, by their names: asked when the restore operator leaves some out. */
  readonly readNames: () => Promise<ReadonlyMap<string, SavedName>>;
}

/** Reads what is written on loading. Values of variables are not read, keys and values of tables from text files are. */
export async function readState(scope: Scope, source: StateSource): Promise<State> {
  const state = new Loaded(scope, source);
  for (const node of runBy(scope, source.restore)) await state.runRestore(node);
  // Variables first: TensorFlow 2 keeps the names of vocabulary files in some.
  const initialisers = runBy(scope, source.initialize);
  for (const node of initialisers) await state.assignInitial(node);
  // An initialiser that restores does so last (saved_model.main_op_with_restore).
  for (const node of initialisers) await state.runRestore(node);
  for (const node of initialisers) await state.fillTable(node);
  await state.findUnset();
  return state;
}

class Loaded implements State {
  readonly #scope: Scope;
  readonly #source: StateSource;
  readonly #variables = new Map<string, VariableValue>();
  readonly #tables = new Map<string, Table | { readonly reason: string }>();
  readonly #stringsOfConsts = new Map<string, readonly string[]>();
  readonly #evaluated = new Map<string, Constant | undefined>();
  #saved: ReadonlyMap<string, SavedName> = new Map();
  #initialValues: ReadonlyMap<string, Edge> | undefined;

  constructor(scope: Scope, source: StateSource) {
    this.#scope = scope;
    this.#source = source;
  }

  variable(node: FlatNode): VariableValue {
    const key = stateKey(node);
    let value = this.#variables.get(key);
    if (!value) {
      value = this.#byName(node) ?? this.#initialValue(key) ?? { kind: 'missing', reason: 'is neither saved nor initialised' };
      this.#variables.set(key, value);
    }
    return value;
  }

  table(node: FlatNode): Table | { readonly reason: string } {
    return this.#tables.get(stateKey(node)) ?? { reason: 'is never filled' };
  }

  /** Looks for the names of variables where some have no value yet. */
  async findUnset(): Promise<void> {
    const isUnset = (node: FlatNode) => isVariable(node) && !this.#variables.has(stateKey(node));
    if ([...this.#scope.nodes.values()].some(isUnset)) this.#saved = await this.#source.readNames();
  }

  async runRestore(node: FlatNode): Promise<void> {
    const { op, inputs } = node;
    if (op === 'Assign' || op === 'AssignVariableOp') {
      const target = this.#target(inputs[0], isVariable);
      if (!target) return;
      const restored = await this.#restored(inputs[1]);
      if (restored) this.#variables.set(stateKey(target), restored);
    } else if (op.startsWith('LookupTableImport')) {
      const target = this.#target(inputs[0], isTable);
      const [keys, values] = [await this.#restored(inputs[1]), await this.#restored(inputs[2])];
      if (target && keys?.kind === 'constant' && values?.kind === 'constant') {
        this.#tables.set(stateKey(target), { keys: keys.constant, values: values.constant });
      }
    }
  }

  async assignInitial({ op, inputs }: FlatNode): Promise<void> {
    if (op !== 'Assign' && op !== 'AssignVariableOp') return;
    const target = this.#target(inputs[0], isVariable);
    if (target && inputs[1]) this.#variables.set(stateKey(target), await this.#computed(inputs[1]));
  }

  async fillTable(node: FlatNode): Promise<void> {
    if (!/^(InitializeTable|LookupTableImport)/.test(node.op)) return;
    const target = this.#target(node.inputs[0], isTable);
    if (target) this.#tables.set(stateKey(target), await this.#content(node, target));
  }

  #target(edge: Edge | undefined, is: (node: FlatNode) => boolean): FlatNode | undefined {
    const origin = edge && originOf(this.#scope, edge);
    return origin && is(origin) ? origin : undefined;
  }

  async #content(node: FlatNode, table: FlatNode): Promise<Table | { readonly reason: string }> {
    const fromFile = node.op.startsWith('InitializeTableFromTextFile');
    if (fromFile) {
      const path = await this.#assetPath(node.inputs[1]);
      const file = path === undefined ? undefined : this.#source.folder.get(path);
      if (!file) return { reason: `is filled from the file ${path ?? '(unknown)'}, which is not there` };
      const number = (name: string, fallback: number) => node.attrs.get(name)?.i ?? fallback;
      const dtype = (name: string) => dtypeOfNumber(table.attrs.get(name)?.type ?? 0);
      const delimiter = new TextDecoder().decode(node.attrs.get('delimiter')?.s) || '\t';
      return await readVocabulary(await file.read(0, file.byteLength), {
        key: { column: number('key_index', 0), dtype: dtype('key_dtype') },
        value: { column: number('value_index', 0), dtype: dtype('value_dtype') },
        size: number('vocab_size', -1),
        offset: number('offset', 0),
        delimiter,
      });
    }
    const keys = node.inputs[1] && (await this.#evaluate(node.inputs[1]));
    const values = node.inputs[2] && (await this.#evaluate(node.inputs[2]));
    if (keys && values) return { keys, values };
    return { reason: `is filled by ${node.op} ("${node.name}") with what is no constant` };
  }

  /** Path of the file whose name an edge gives. */
  async #assetPath(edge: Edge | undefined): Promise<string | undefined> {
    let origin = edge && originOf(this.#scope, edge);
    if (origin?.op === 'ReadVariableOp' && origin.inputs[0]) {
      const variable = this.#target(origin.inputs[0], isVariable);
      const value = variable && this.#variables.get(stateKey(variable));
      origin = value?.kind === 'edge' ? originOf(this.#scope, value.edge) : variable;
    }
    if (!origin) return undefined;
    const asset = this.#source.assets.get(origin.name);
    if (asset !== undefined) return asset;
    const constant = await this.#evaluate({ node: origin.name, index: 0 });
    const tensor = constant?.dtype === 'string' && constant.byteLength < 4096 ? await constant.load() : undefined;
    const name = tensor?.dtype === 'string' ? tensor.data[0] : undefined;
    return name && `assets/${new TextDecoder().decode(name).split('/').at(-1)}`;
  }

  /** What RestoreV2 reads for an edge; undefined for an edge from elsewhere. */
  async #restored(edge: Edge | undefined): Promise<VariableValue | undefined> {
    let at = edge;
    for (let hops = 0; at && hops < 100; hops++) {
      const node = this.#scope.nodes.get(at.node);
      if (node?.op === 'Identity') at = node.inputs[0];
      else if (node?.op === 'RestoreV2') return await this.#read(node, at.index);
      else return undefined;
    }
    return undefined;
  }

  async #read(restore: FlatNode, index: number): Promise<VariableValue> {
    const [names, slices] = [await this.#strings(restore.inputs[1]), await this.#strings(restore.inputs[2])];
    const name = names?.[index];
    if (name === undefined) throw damaged(`${restore.op} "${restore.name}" does not say what it reads`);
    return this.#savedTensor(name, parseSlice(slices?.[index] ?? '', name));
  }

  #savedTensor(name: string, slice: readonly Extent[] | undefined): VariableValue {
    const { bundle } = this.#source;
    if (!bundle?.has(name)) return { kind: 'missing', reason: `is said to be saved as ${name}, which is not there` };
    try {
      return { kind: 'constant', constant: bundle.tensor(name, slice) };
    } catch (error) {
      if (error instanceof NearfarError && error.code === 'unsupported') return { kind: 'missing', reason: error.message };
      throw error;
    }
  }

  async #strings(edge: Edge | undefined): Promise<readonly string[] | undefined> {
    if (!edge) return undefined;
    const known = this.#stringsOfConsts.get(edge.node);
    if (known) return known;
    const tensor = await (await this.#evaluate(edge))?.load();
    if (tensor?.dtype !== 'string') return undefined;
    const strings = tensor.data.map((bytes) => new TextDecoder().decode(bytes));
    this.#stringsOfConsts.set(edge.node, strings);
    return strings;
  }

  async #computed(edge: Edge): Promise<VariableValue> {
    const constant = await this.#evaluate(edge);
    return constant ? { kind: 'constant', constant } : this.#expression(edge);
  }

  /** A value that the graph computes, always the same. */
  #expression(edge: Edge): VariableValue {
    const random = runBy(this.#scope, [edge.node]).find(({ op }) => /Random|Multinomial|TruncatedNormal/.test(op));
    return random ? { kind: 'missing', reason: `is not saved, and begins with random values ("${random.name}")` } : { kind: 'edge', edge };
  }

  /** A saved tensor of the variable's own name: of models without a restore operator. */
  #byName(node: FlatNode): VariableValue | undefined {
    const shared = new TextDecoder().decode(node.attrs.get('shared_name')?.s);
    for (const name of [shared, node.name]) {
      const saved = this.#saved.get(name) ?? { name };
      if (this.#source.bundle?.has(saved.name)) return this.#savedTensor(saved.name, saved.slice);
    }
    return undefined;
  }

  /** What a variable begins with: the graph assigns it somewhere, though nothing runs that on loading. */
  #initialValue(key: string): VariableValue | undefined {
    this.#initialValues ??= this.#collectInitialValues();
    const edge = this.#initialValues.get(key);
    return edge && this.#expression(edge);
  }

  #collectInitialValues(): ReadonlyMap<string, Edge> {
    const values = new Map<string, Edge>();
    for (const { name, op, inputs } of this.#scope.nodes.values()) {
      // The name that TensorFlow gives to the initialiser; other assignments are steps of a training.
      if ((op !== 'Assign' && op !== 'AssignVariableOp') || !name.endsWith('/Assign')) continue;
      const target = this.#target(inputs[0], isVariable);
      if (target && inputs[1]) values.set(stateKey(target), inputs[1]);
    }
    return values;
  }

  /** The value of an edge where it is plain to see; undefined elsewhere. */
  async #evaluate(edge: Edge, depth = 0): Promise<Constant | undefined> {
    const key = edgeKey(edge);
    if (!this.#evaluated.has(key)) this.#evaluated.set(key, await this.#compute(edge, depth));
    return this.#evaluated.get(key);
  }

  async #compute(edge: Edge, depth: number): Promise<Constant | undefined> {
    const node = this.#scope.nodes.get(edge.node);
    if (!node || depth > 50) return undefined;
    const input = async (index: number): Promise<Constant | undefined> => {
      const from = node.inputs[index];
      return from && (await this.#evaluate(from, depth + 1));
    };
    switch (node.op) {
      case 'Const': {
        const proto = node.attrs.get('value')?.tensor;
        return proto && constantOfProto(proto, `constant "${node.name}"`);
      }
      case 'Identity':
      case 'Snapshot':
        return await input(0);
      case 'Reshape':
      case 'ExpandDims':
      case 'Squeeze': {
        // Only tables ask for these, and their keys and values have no shape that matters.
        const value = await input(0);
        if (!value) return undefined;
        const shape = [elementCount(value.shape)];
        return { ...value, shape, load: async () => ({ ...(await value.load()), shape }) };
      }
      case 'Range':
        return await range(await input(0), await input(1), await input(2));
      default:
        return undefined;
    }
  }
}

const MAX_RANGE = 50_000_000;

async function range(start?: Constant, limit?: Constant, delta?: Constant): Promise<Constant | undefined> {
  if (!start || !limit || !delta) return undefined;
  if ([start, limit, delta].some(({ shape }) => shape.length > 0)) return undefined;
  const [from, to, step] = (await Promise.all([start, limit, delta].map((scalar) => scalar.load()))).map(({ data }) => Number(data[0]));
  if (from === undefined || to === undefined || !step) return undefined;
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= MAX_RANGE)) return undefined;
  if (start.dtype === 'int32')
    return toConstant(
      createTensor(
        'int32',
        [count],
        Int32Array.from({ length: count }, (_, i) => from + i * step),
      ),
    );
  if (start.dtype !== 'int64') return undefined;
  return toConstant(
    createTensor(
      'int64',
      [count],
      BigInt64Array.from({ length: count }, (_, i) => BigInt(from + i * step)),
    ),
  );
}

/** `full shape, then start,length or - per axis`: `10 4 0,5:-` (checkpoint::ParseShapeAndSlice). */
function parseSlice(text: string, name: string): readonly Extent[] | undefined {
  if (text === '') return undefined;
  const spec = text.slice(text.lastIndexOf(' ') + 1);
  return spec.split(':').map((extent) => {
    if (extent === '-') return { start: 0, length: -1 };
    const match = /^(\d{1,15}),(\d{1,15})$/.exec(extent);
    if (!match) throw damaged(`the part "${text}" of the variable ${name} cannot be read`);
    return { start: Number(match[1]), length: Number(match[2]) };
  });
}
