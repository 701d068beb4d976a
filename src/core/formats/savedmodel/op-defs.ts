import { damaged } from './damaged.ts';
import { opTable } from './op-table.ts';
import type { ArgDef, AttrList, AttrValue, FunctionDef, OpDef } from './schema.ts';

// What a graph says about its operators: a SavedModel carries the definitions it uses (stripped_op_list). Frozen graphs carry none, and
// TensorFlow before 2.4 left out what only functions use: for those there is a table.

type Attrs = ReadonlyMap<string, AttrValue>;

let known: ReadonlyMap<string, OpDef> | undefined;

/** The table of TensorFlow's operators, read when it is first needed. */
function knownOps(): ReadonlyMap<string, OpDef> {
  known ??= new Map(opTable.split('\n').map(readDefinition));
  return known;
}

/** `name|output:type,output:count*type|attribute=default|…` */
function readDefinition(line: string): [string, OpDef] {
  const [name = '', outputs = '', ...defaults] = line.split('|');
  const output_arg = outputs === '' ? [] : outputs.split(',').map(readOutput);
  const attr = defaults.map((text) => {
    const [attribute = '', value = ''] = text.split(/=(.*)/s);
    return { name: attribute, default_value: readDefault(value) };
  });
  return [name, { name, input_arg: [], output_arg, attr }];
}

/** `y:T`, `output:num_split*T`, `indices:9`, `output:@Tout` */
function readOutput(text: string): ArgDef {
  const [name = '', rest = ''] = text.split(':');
  const [number_attr, type] = rest.includes('*') ? (rest.split('*') as [string, string]) : ['', rest];
  const isNumber = /^\d+$/.test(type);
  const isList = type.startsWith('@');
  return {
    name,
    number_attr,
    type: isNumber ? Number(type) : 0,
    type_attr: isNumber || isList ? '' : type,
    type_list_attr: isList ? type.slice(1) : '',
  };
}

function readDefault(text: string): AttrValue {
  const value = text.slice(1);
  const sizes = () => ({ unknown_rank: value === '?', dim: numbersOf(value.replace('?', '')).map((size) => ({ size })) });
  switch (text[0]) {
    case 's':
      return { s: new TextEncoder().encode(value) };
    case 'i':
      return { i: Number(value) };
    case 'f':
      return { f: Number(value) };
    case 'b':
      return { b: value === '1' };
    case 't':
      return { type: Number(value) };
    case 'h':
      return { shape: sizes() };
    default:
      return { list: readList(value) };
  }
}

function readList(text: string): AttrList {
  const numbers = numbersOf(text.slice(1));
  const of = (letter: string) => (text[0] === letter ? numbers : []);
  return { s: [], i: of('i'), f: of('f'), b: of('b').map(Boolean), type: of('t'), shape: [], tensor: [], func: [] };
}

function numbersOf(text: string): number[] {
  return text === '' ? [] : text.split(',').map(Number);
}

export class OpDefs {
  readonly #defs: ReadonlyMap<string, OpDef>;

  constructor(ops: readonly OpDef[], functions: readonly FunctionDef[]) {
    const ofFunctions = functions.flatMap(({ signature }) => (signature ? [signature] : []));
    this.#defs = new Map([...ops, ...ofFunctions].map((def) => [def.name, def]));
  }

  #get(op: string): OpDef | undefined {
    return this.#defs.get(op) ?? knownOps().get(op);
  }

  /** Attributes with those that have their default value, which saving removes. */
  complete(op: string, attrs: Attrs): Attrs {
    const missing = this.#get(op)?.attr.filter(({ name, default_value }) => default_value !== undefined && !attrs.has(name));
    if (missing === undefined || missing.length === 0) return attrs;
    return new Map([...attrs, ...missing.map(({ name, default_value }): [string, AttrValue] => [name, default_value!])]); // filtered above
  }

  /** Position among all outputs of a node of the one that function bodies call `arg:offset`. */
  outputIndex(op: string, attrs: Attrs, arg: string, offset: number): number {
    const def = this.#get(op);
    if (!def) return offset; // one output, or one list of them
    let start = 0;
    for (const output of def.output_arg) {
      if (output.name === arg) return start + offset;
      start += countOf(output, attrs);
    }
    throw damaged(`${op} has no output ${arg}`);
  }

  /** DataType numbers of all outputs, 0 where it is not known. */
  outputTypes(op: string, attrs: Attrs): readonly number[] {
    const def = this.#get(op);
    // What the table leaves out has one output, of the type T.
    return def ? def.output_arg.flatMap((arg) => typesOf(arg, attrs)) : [attrs.get('T')?.type ?? 0];
  }
}

/** A list longer than this is damage. */
const MAX_LIST = 100_000;

/** Tensors of one argument: lists have several. */
export function countOf(arg: ArgDef, attrs: Attrs): number {
  if (arg.number_attr !== '') {
    const count = attrs.get(arg.number_attr)?.i ?? 1;
    if (count >= 0 && count <= MAX_LIST) return count;
    throw damaged(`a list ${arg.name} of ${count} tensors`);
  }
  return arg.type_list_attr === '' ? 1 : (attrs.get(arg.type_list_attr)?.list?.type.length ?? 0);
}

function typesOf(arg: ArgDef, attrs: Attrs): readonly number[] {
  if (arg.type_list_attr !== '') return attrs.get(arg.type_list_attr)?.list?.type ?? [];
  const type = arg.type_attr === '' ? arg.type : (attrs.get(arg.type_attr)?.type ?? 0);
  return Array.from({ length: countOf(arg, attrs) }, () => type);
}
