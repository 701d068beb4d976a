import { readFileSync } from 'node:fs';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { describe, expect, test } from 'vitest';
import { constantOf, functionOf } from '../../../../src/core/formats/graph/attributes.ts';
import type { ModelGraph } from '../../../../src/core/formats/graph/index.ts';
import { type GraphDefOptions, isGraphDef, isSavedModel, readGraphDef, readSavedModel } from '../../../../src/core/index.ts';
import { countOps, memoryFile } from './folder.ts';

const bytesOf = (path: string) => new Uint8Array(readFileSync(new URL(`../../../fixtures/savedmodel/${path}`, import.meta.url)));
const encode = (text: string) => new TextEncoder().encode(text);
const read = (text: string, options?: GraphDefOptions) => readGraphDef(encode(text), options);

const float = 'attr { key: "T" value { type: DT_FLOAT } }';
const placeholder = (name: string) => `node { name: "${name}" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }`;
const constant = (name: string, tensor: string, type = 'DT_FLOAT') =>
  `node { name: "${name}" op: "Const" attr { key: "dtype" value { type: ${type} } } attr { key: "value" value { tensor { dtype: ${type} ${tensor} } } } }`;
const add = (name: string, a: string, b: string) => `node { name: "${name}" op: "AddV2" input: "${a}" input: "${b}" ${float} }`;

describe('signatures', () => {
  test('have placeholders and unread tensors, all outputs of a node', async () => {
    const graph = await read(`
      ${placeholder('x')} ${placeholder('unused')} ${constant('k', 'tensor_shape {} int_val: 1', 'DT_INT32')}
      node { name: "top" op: "TopKV2" input: "x" input: "k" ${float} }`);

    expect(graph.signatures['serving_default']).toEqual({
      method: 'predict',
      inputs: { x: { node: 'x', dtype: 'float32', shape: undefined } },
      outputs: {
        top: { edge: { node: 'top', index: 0 }, dtype: 'float32', shape: undefined },
        'top:1': { edge: { node: 'top', index: 1 }, dtype: 'int32', shape: undefined },
      },
    });
    expect(graph.nodes.get('top')?.attributes['sorted']).toEqual({ kind: 'bool', value: true });
  });

  test('have the tensors that are asked for, even such as others compute', async () => {
    const graph = await read(`${placeholder('x')} ${add('y', 'x', 'x')} ${add('z', 'y', 'y')}`, { inputs: ['y'], outputs: ['z'] });

    expect(Object.keys(graph.signatures['serving_default']!.inputs)).toEqual(['y']);
    expect([...graph.nodes.keys()].sort()).toEqual(['y', 'z']);
    expect(graph.nodes.get('y')?.op).toBe('Placeholder');
  });

  test('that need what is no input are refused with every reason', async () => {
    const reading = read(
      `${placeholder('x')} ${placeholder('y')} ${add('z', 'x', 'y')} node { name: "v" op: "VariableV2" } ${add('w', 'z', 'v')}`,
      {
        inputs: ['x'],
      },
    );

    await expect(reading).rejects.toMatchObject({
      code: 'unsupported',
      details: {
        unusable: { serving_default: [expect.stringContaining('op VariableV2 ("v")'), expect.stringContaining('op Placeholder ("y")')] },
      },
    });
  });
});

describe('functions', () => {
  const square = `function {
    signature { name: "square" input_arg { name: "a" type_attr: "T" } output_arg { name: "r" type_attr: "T" } }
    node_def { name: "m" op: "Mul" input: "a" input: "a" attr { key: "T" value { placeholder: "T" } } }
    ret { key: "r" value: "m:z:0" }
  }`;

  test('that are called by their own names are put in the place of the call', async () => {
    const graph = await read(`${placeholder('x')} node { name: "s" op: "square" input: "x" ${float} } library { ${square} }`);

    expect([...graph.nodes.keys()].sort()).toEqual(['s/m', 'x']);
    expect(graph.nodes.get('s/m')).toMatchObject({
      op: 'Mul',
      inputs: [{ node: 'x' }, { node: 'x' }],
      attributes: { T: { value: 'float32' } },
    });
  });

  test('call each other, and take lists', async () => {
    const graph = await read(`
      ${placeholder('x')} ${placeholder('y')}
      node { name: "c" op: "PartitionedCall" input: "x" input: "y"
        attr { key: "f" value { func { name: "outer" attr { key: "N" value { i: 2 } } attr { key: "T" value { type: DT_FLOAT } } } } } }
      node { name: "out" op: "Relu" input: "c:1" ${float} }
      library { ${square} function {
        signature { name: "outer" input_arg { name: "list" number_attr: "N" type_attr: "T" }
                    output_arg { name: "first" type: DT_FLOAT } output_arg { name: "second" type: DT_FLOAT } }
        node_def { name: "inner" op: "square" input: "list:1" attr { key: "T" value { placeholder: "T" } } }
        ret { key: "first" value: "list:0" } ret { key: "second" value: "inner:r:0" }
      } }`);

    expect(graph.nodes.get('out')?.inputs).toEqual([{ node: 'c/inner/m', index: 0 }]);
    expect(graph.nodes.get('c/inner/m')?.inputs).toEqual([
      { node: 'y', index: 0 },
      { node: 'y', index: 0 },
    ]);
  });

  test('that call themselves are refused as what needs them', async () => {
    const reading = read(`${placeholder('x')} node { name: "s" op: "loop" input: "x" } library { function {
      signature { name: "loop" input_arg { name: "a" type: DT_FLOAT } output_arg { name: "r" type: DT_FLOAT } }
      node_def { name: "n" op: "loop" input: "a" } ret { key: "r" value: "n:r:0" } } }`);

    await expect(reading).rejects.toMatchObject({ code: 'unsupported', message: expect.stringContaining('too deep') });
  });

  test('that call two of the next, and so on, end soon', async () => {
    const levels = Array.from(
      { length: 40 },
      (_, level) => `function {
      signature { name: "f${level}" input_arg { name: "a" type: DT_FLOAT } output_arg { name: "r" type: DT_FLOAT } }
      node_def { name: "p" op: "f${level + 1}" input: "a" } node_def { name: "q" op: "f${level + 1}" input: "p:r:0" }
      ret { key: "r" value: "q:r:0" } }`,
    );

    const reading = read(`${placeholder('x')} node { name: "s" op: "f0" input: "x" } library { ${levels.join(' ')} }`);

    await expect(reading).rejects.toMatchObject({ code: 'invalid-argument', message: expect.stringContaining('more than') });
  });

  test('of a Case are functions of the graph, in order', async () => {
    const branch = (name: string, op: string) => `function {
      signature { name: "${name}" input_arg { name: "a" type: DT_FLOAT } output_arg { name: "r" type: DT_FLOAT } }
      node_def { name: "n" op: "${op}" input: "a" ${float} } ret { key: "r" value: "n:y:0" } }`;
    const graph = await read(`
      ${placeholder('x')} node { name: "i" op: "Placeholder" attr { key: "dtype" value { type: DT_INT32 } } }
      node { name: "c" op: "StatelessCase" input: "i" input: "x"
        attr { key: "Tin" value { list { type: DT_FLOAT } } } attr { key: "Tout" value { list { type: DT_FLOAT } } }
        attr { key: "branches" value { list { func { name: "up" } func { name: "down" } } } } }
      library { ${branch('up', 'Ceil')} ${branch('down', 'Floor')} }`);

    expect(graph.nodes.get('c')).toMatchObject({
      op: 'Case',
      attributes: {
        branches: {
          value: [
            { kind: 'function', value: 'up' },
            { kind: 'function', value: 'down' },
          ],
        },
      },
    });
    expect(countOps(graph.functions.get('down')!.nodes.values())).toEqual({ _Arg: 1, Floor: 1 });
  });

  test('of control flow share one name only when they are the same', async () => {
    const graph = await read(`
      ${placeholder('x')} node { name: "p" op: "Placeholder" attr { key: "dtype" value { type: DT_BOOL } } }
      node { name: "c" op: "If" input: "p" input: "x" attr { key: "Tcond" value { type: DT_BOOL } }
        attr { key: "Tin" value { list { type: DT_FLOAT } } } attr { key: "Tout" value { list { type: DT_FLOAT } } }
        attr { key: "then_branch" value { func { name: "square" attr { key: "T" value { type: DT_FLOAT } } } } }
        attr { key: "else_branch" value { func { name: "square" attr { key: "T" value { type: DT_HALF } } } } } }
      library { ${square} }`);

    const node = graph.nodes.get('c')!;
    const types = ['then_branch', 'else_branch'].map(
      (name) => graph.functions.get(functionOf(node, name))!.nodes.get('m')!.attributes['T'],
    );
    expect(types).toEqual([
      { kind: 'type', value: 'float32' },
      { kind: 'type', value: 'float16' },
    ]);
  });
});

test('a loop of which an output is read that it does not have is refused', async () => {
  const body = (name: string, type: string, value: string) => `function {
    signature { name: "${name}" input_arg { name: "a" type: DT_FLOAT } output_arg { name: "r" type: ${type} } }
    node_def { name: "n" op: "${value}" input: "a" ${float} } ret { key: "r" value: "n:y:0" } }`;
  const reading = read(`${placeholder('x')}
    node { name: "w" op: "While" input: "x" attr { key: "T" value { list { type: DT_FLOAT } } }
      attr { key: "cond" value { func { name: "c" } } } attr { key: "body" value { func { name: "b" } } } }
    ${add('y', 'w', 'w:3')} library { ${body('c', 'DT_BOOL', 'IsNan')} ${body('b', 'DT_FLOAT', 'Relu')} }`);

  await expect(reading).rejects.toMatchObject({ code: 'invalid-argument', message: expect.stringContaining('no output 3') });
});

test('a gather from a variable finds a free name for its axis', async () => {
  const graph = await readSavedModel(
    new Map([
      [
        'saved_model.pbtxt',
        memoryFile(
          encode(`meta_graphs { meta_info_def { tags: "serve" } graph_def {
            node { name: "v" op: "VarHandleOp" attr { key: "dtype" value { type: DT_FLOAT } } }
            ${constant('rows', 'tensor_shape { dim { size: 2 } } float_val: [5, 6]')}
            node { name: "v/Assign" op: "AssignVariableOp" input: "v" input: "rows" attr { key: "dtype" value { type: DT_FLOAT } } }
            ${constant('g/axis', 'tensor_shape {} int_val: 1', 'DT_INT32')}
            node { name: "g" op: "ResourceGather" input: "v" input: "g/axis" attr { key: "dtype" value { type: DT_FLOAT } }
              attr { key: "Tindices" value { type: DT_INT32 } } }
          } signature_def { key: "s" value { outputs { key: "y" value { name: "g:0" dtype: DT_FLOAT tensor_shape {} } } } } }`),
        ),
      ],
    ]),
  );

  expect(graph.nodes.get('g')).toMatchObject({ op: 'GatherV2', inputs: [{ node: 'v' }, { node: 'g/axis' }, { node: 'g/axis_' }] });
});

describe('the text form', () => {
  const value = async (text: string, type?: string) => {
    const graph = await read(`${constant('c', text, type)} node { name: "y" op: "Identity" input: "c" }`, { outputs: ['c'] });
    return (await constantOf(graph.nodes.get('c')!).load()).data;
  };

  test('has numbers in all their forms', async () => {
    const text =
      'tensor_shape { dim { size: 9 } } float_val: [1, -2.5e1, .5, 0x10] float_val: inf, float_val: -inf; float_val: nan float_val: 1.5f # }\n';

    expect(await value(text)).toEqual(Float32Array.of(1, -25, 0.5, 16, Infinity, -Infinity, Number.NaN, 1.5, 1.5));
  });

  test('has strings in parts, with escapes', async () => {
    const text = String.raw`tensor_shape: < dim: { size: 2 } > string_val: "a\n\x41" '\101\377' string_val: "\u00e4\"'"`;

    expect(await value(text, 'DT_STRING')).toEqual([Uint8Array.of(97, 10, 65, 65, 255), encode('ä"\'')]);
  });

  test('has whole numbers of 64 bits, negative and octal ones', async () => {
    expect(
      await value('tensor_shape { dim { size: 3 } } int64_val: -9223372036854775808 int64_val: 017 int64_val: - 3', 'DT_INT64'),
    ).toEqual(BigInt64Array.of(-(2n ** 63n), 15n, -3n));
  });

  test('may have what is not known', async () => {
    const graph = await read(
      `unknown { a: 1 b: [x, { c: "d" }] e <f: -1> } ${placeholder('x')} ${add('y', 'x', 'x')} versions { producer: 9 what: true }`,
    );

    expect(graph.nodes.size).toBe(2);
  });

  test.each([
    ['an open bracket', 'node { name: "x"'],
    ['an open string', 'node { name: "x }'],
    ['a lone bracket', 'node { } }'],
    ['a long comment before what is none', `${'#'.repeat(10_000)}\n\u0001`],
    ['a value of the wrong kind', 'node { name: 5 }'],
    ['another sign', 'node { name: "x" op: "y" } $'],
    ['a number that is none', 'node { name: "x" op: "Const" attr { key: "a" value { i: 1.5 } } }'],
    ['nested lists without end', `node { a: ${'['.repeat(10_000)}`],
    ['nested messages without end', `node { a ${'{ a '.repeat(10_000)}`],
  ])('refuses %s', async (_, text) => {
    await expect(read(text)).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

describe('refuses', () => {
  test('cycles', async () => {
    await expect(read(`${placeholder('x')} ${add('a', 'x', 'b')} ${add('b', 'a', 'x')}`, { outputs: ['a'] })).rejects.toMatchObject({
      code: 'invalid-argument',
    });
  });

  test('nodes that are missing, and two of one name', async () => {
    await expect(read(`${placeholder('x')} ${add('y', 'x', 'gone')}`)).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(read(`${placeholder('x')} ${placeholder('x')}`)).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test.each([
    ['as large as no memory', 'tensor_shape { dim { size: 1000000000000 } } float_val: 1'],
    ['that repeats a value to gigabytes', 'tensor_shape { dim { size: 500000000 } } float_val: 1'],
    ['of a negative size', 'tensor_shape { dim { size: -1 } } float_val: 1'],
    ['of an unknown rank', 'tensor_shape { unknown_rank: true } float_val: 1'],
    ['with too few bytes', String.raw`tensor_shape { dim { size: 2 } } tensor_content: "\000\000\000\000"`],
  ])('a constant %s', async (_, tensor) => {
    await expect(read(`${constant('c', tensor)} ${add('y', 'c', 'c')}`)).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test('a type that has no dtype here, for those who need it', async () => {
    await expect(read(`${constant('c', 'tensor_shape {}', '24')} ${add('y', 'c', 'c')}`)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('op Const ("c")'),
    });
  });

  test('nothing', async () => {
    await expect(readGraphDef(new Uint8Array())).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

describe('a SavedModel without variables', () => {
  const variable = `node { name: "v" op: "VariableV2" attr { key: "dtype" value { type: DT_FLOAT } } attr { key: "shape" value { shape {} } } }
    node { name: "y" op: "Identity" input: "v" ${float} }`;
  const saved = (nodes: string) =>
    readSavedModel(
      new Map([
        [
          'saved_model.pbtxt',
          memoryFile(
            encode(`meta_graphs { meta_info_def { tags: "serve" } graph_def { ${variable} ${nodes} }
              signature_def { key: "read" value { outputs { key: "y" value { name: "y:0" dtype: DT_FLOAT tensor_shape {} } } } } }`),
          ),
        ],
      ]),
    );

  test('reads those that begin with a value', async () => {
    const graph = await saved(
      `${constant('zero', 'tensor_shape {} float_val: 4')} node { name: "v/Assign" op: "Assign" input: "v" input: "zero" ${float} }`,
    );

    expect(graph.nodes.get('v')).toMatchObject({ op: 'Identity', inputs: [{ node: 'zero', index: 0 }] });
  });

  test('refuses those that begin with a random one', async () => {
    const reading = saved(`${constant('shape', 'tensor_shape { dim { size: 0 } }', 'DT_INT32')}
      node { name: "random" op: "RandomUniform" input: "shape" } node { name: "v/Assign" op: "Assign" input: "v" input: "random" ${float} }`);

    await expect(reading).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('op VariableV2 ("v") is not saved'),
    });
  });

  test('refuses those that nothing sets', async () => {
    await expect(saved('')).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('neither saved nor initialised'),
    });
  });
});

describe('a table of a vocabulary file', () => {
  const saved = (file: string, columns: string, value = 'DT_FLOAT') =>
    readSavedModel(
      new Map([
        ['assets/words.txt', memoryFile(encode(file))],
        [
          'saved_model.pbtxt',
          memoryFile(
            encode(`meta_graphs { meta_info_def { tags: "serve" } graph_def {
              node { name: "t" op: "HashTableV2" attr { key: "key_dtype" value { type: DT_STRING } } attr { key: "value_dtype" value { type: ${value} } } }
              ${constant('path', 'tensor_shape {} string_val: "/home/me/words.txt"', 'DT_STRING')}
              node { name: "init" op: "InitializeTableFromTextFileV2" input: "t" input: "path" ${columns} }
              node { name: "size" op: "LookupTableSizeV2" input: "t" }
            }
            collection_def { key: "legacy_init_op" value { node_list { value: "init" } } }
            signature_def { key: "s" value { outputs { key: "y" value { name: "size:0" dtype: DT_INT64 tensor_shape {} } } } } }`),
          ),
        ],
      ]),
    );
  const columns = (key: number, value: number, more = '') =>
    `attr { key: "key_index" value { i: ${key} } } attr { key: "value_index" value { i: ${value} } } ${more}`;
  const content = async (graph: ModelGraph) => {
    const table = graph.nodes.get('t')!;
    const [keys, values] = [await constantOf(table, 'keys').load(), await constantOf(table, 'values').load()];
    return [
      Array.from(keys.data as Iterable<unknown>, (bytes) => new TextDecoder().decode(bytes as Uint8Array)),
      Array.from(values.data as Iterable<number | bigint>, Number),
    ];
  };

  test('has columns between delimiters, line ends of either kind, and only so many lines as it says', async () => {
    const more = 'attr { key: "delimiter" value { s: "," } } attr { key: "vocab_size" value { i: 2 } }';

    expect(await content(await saved('0.5,a,x\r\n-2,b,y\n3,c,z\n', columns(1, 0, more)))).toEqual([
      ['a', 'b'],
      [0.5, -2],
    ]);
  });

  test('numbers its lines from the offset', async () => {
    const graph = await saved('a\nb', columns(-2, -1, 'attr { key: "offset" value { i: 5 } }'), 'DT_INT64');

    expect(await content(graph)).toEqual([
      ['a', 'b'],
      [5, 6],
    ]);
  });

  test.each([
    ['an empty line', 'a\t1\n\nb\t2', 'whose line 2 is empty'],
    ['a line with too few columns', 'a\t1\nb', 'without string in column 0 and float32 in column 1'],
    ['no number where one is needed', 'a\tone', 'without string in column 0 and float32 in column 1'],
  ])('with %s is refused', async (_, file, message) => {
    await expect(saved(file, columns(0, 1))).rejects.toMatchObject({ code: 'unsupported', message: expect.stringContaining(message) });
  });

  test('with fewer lines than it says is refused', async () => {
    const reading = saved('a\t1', columns(0, 1, 'attr { key: "vocab_size" value { i: 3 } }'));

    await expect(reading).rejects.toMatchObject({ code: 'unsupported', message: expect.stringContaining('of 1 lines, expected 3') });
  });
});

test('a long chain of nodes needs no deep stack', async () => {
  const chain = Array.from({ length: 50_000 }, (_, i) => `node { name: "n${i + 1}" op: "Relu" input: "n${i}" ${float} }`);

  const graph = await read(`${placeholder('n0')} ${chain.join('\n')}`);

  expect(graph.nodes.size).toBe(50_001);
});

describe('a large constant', () => {
  const elements = 100_000;
  const values = Float32Array.from({ length: elements }, (_, i) => i / 7);

  /** A GraphDef in binary form: a constant, and a node that reads it. */
  function write(): Uint8Array {
    const message = (field: number, content: Uint8Array) => new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(content).finish();
    const joined = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
    const number = (field: number, value: number) => new BinaryWriter().tag(field, WireType.Varint).int64(value).finish();
    const tensor = joined(number(1, 1), message(2, message(2, number(1, elements))), message(4, new Uint8Array(values.buffer)));
    const attr = (key: string, value: Uint8Array) => message(5, joined(message(1, encode(key)), message(2, value)));
    const weight = joined(
      message(1, encode('w')),
      message(2, encode('Const')),
      attr('dtype', number(6, 1)),
      attr('value', message(8, tensor)),
    );
    const relu = joined(message(1, encode('y')), message(2, encode('Relu')), message(3, encode('w')), attr('T', number(6, 1)));
    return joined(message(1, weight), message(1, relu), message(4, number(1, 1882)));
  }

  test('stays in the file until it is loaded', async () => {
    const bytes = write();
    let most = 0;
    const file = {
      byteLength: bytes.length,
      read: async (start: number, end: number) => {
        most = Math.max(most, end - start);
        return bytes.slice(start, end);
      },
    };

    const graph = await readGraphDef(file);

    expect(most).toBeLessThanOrEqual(64 * 1024);
    const weight = constantOf(graph.nodes.get('w')!);
    expect(weight).toMatchObject({ dtype: 'float32', shape: [elements], byteLength: 4 * elements });
    expect((await weight.load()).data).toEqual(values);
    expect(most).toBe(4 * elements);
  });

  test('that is cut off is refused', async () => {
    const bytes = write();

    await expect(readGraphDef(bytes.subarray(0, 200_000))).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

describe('recognising', () => {
  test('tells a graph from a SavedModel and from other things', () => {
    const graph = encode(`# made by hand\n${placeholder('x')}`);
    expect([isGraphDef(graph), isSavedModel(graph)]).toEqual([true, false]);
    expect([isGraphDef(bytesOf('frozen/frozen.pb')), isSavedModel(bytesOf('frozen/frozen.pb'))]).toEqual([true, false]);
    for (const model of ['lstm/saved_model.pb', 'table_v1/saved_model.pb', 'shared_text/saved_model.pbtxt']) {
      expect([isGraphDef(bytesOf(model)), isSavedModel(bytesOf(model))], model).toEqual([false, true]);
      expect(isSavedModel(bytesOf(model).subarray(0, 4096)), model).toBe(true);
    }
    expect(isSavedModel(encode('saved_model_schema_version: 1\nmeta_graphs {'))).toBe(true);
    for (const other of [
      '',
      '{"modelTopology": {}}',
      'node',
      '\x89HDF\r\n\x1a\n',
      '\x08\x07\x12\x07pytorch\x3a\x02\x0a\x00',
      '\x80\x02}q\x00.',
    ]) {
      const bytes = Uint8Array.from(other, (letter) => letter.charCodeAt(0));
      expect([isGraphDef(bytes), isSavedModel(bytes)], other).toEqual([false, false]);
    }
  });
});
