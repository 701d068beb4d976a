import { zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { externalOnnx, type Files, fuzz, layersModel, onnxWithShape, publishFiles, smallModels, text } from '../support/bad-input.ts';

// Damaged and hostile files given to `publish`: a typed error, soon, and nothing written. The full run has many more.

const models = await smallModels();
const named = (name: string) => models.find((model) => model.name === name)!;

describe('a model of each format', () => {
  test.each(models)('$name is published when it is whole', async (format) => {
    expect((await publishFiles(format, format.name)).error).toBeUndefined();
  });

  test.each(models)('$name is refused or published when it is damaged, and nothing else happens', async (format) => {
    const codes = await fuzz(
      format,
      Array.from({ length: 6 }, (_, index) => index + 1),
    );

    expect(Object.keys(codes).filter((code) => code !== 'published').length).toBeGreaterThan(0);
  });

  test.each(models)('$name is refused when it is empty or cut in half', async (format) => {
    const [entry = ''] =
      format.entry === undefined ? [...format.files.keys()].filter((name) => /^(saved_model|model)\./.test(name)) : [format.entry];
    const bytes = format.files.get(entry)!;
    for (const length of [0, 1, bytes.byteLength >> 1]) {
      const files = new Map([...format.files, [entry, bytes.slice(0, length)]]);
      const { error } = await publishFiles({ ...format, files }, `${format.name} with ${length} bytes`);
      expect(error?.code).toMatch(/^(invalid-argument|unsupported|integrity-mismatch|not-found)$/);
    }
  });
});

describe('paths out of the folder', () => {
  const paths = [
    '../secret',
    '../../secret',
    '/etc/hostname',
    '..\\secret',
    'C:\\secret',
    'a/../../secret',
    'file:///etc/hostname',
    'weights.bin/../../secret',
  ];

  test.each(paths)('shard %s of a GraphModel', async (path) => {
    const { files } = named('GraphModel');
    const document = JSON.parse(new TextDecoder().decode(files.get('model.json')));
    document.weightsManifest[0].paths = [path];

    expect(await refusal(new Map([...files, ['model.json', text(JSON.stringify(document))]]))).toMatch(/^(invalid-argument|not-found)$/);
  });

  test.each(paths)('shard %s of a LayersModel', async (path) => {
    expect(await refusal(layersModel([3, 2], path))).toMatch(/^(invalid-argument|not-found)$/);
  });

  test.each(paths)('external data %s of an ONNX file', async (location) => {
    expect(await refusal(externalOnnx({ location }))).toMatch(/^(invalid-argument|not-found)$/);
  });

  test('a vocabulary of a SavedModel', async () => {
    const { files } = named('SavedModel with a vocabulary');
    const bytes = files.get('saved_model.pb')!;
    // Names of the same length, so that the messages around them stay whole.
    const changed = replaceAll(bytes, 'nearfar-vocabulary.txt', '../../../../etc/passwd');

    expect(changed).not.toEqual(bytes);
    expect(await refusal(new Map([...files, ['saved_model.pb', changed]]))).toMatch(/^(invalid-argument|not-found|unsupported)$/);
  });

  test('names of tensors are names, not paths', async () => {
    const { files } = named('GraphModel');
    const json = new TextDecoder().decode(files.get('model.json'));
    const [{ weights }] = JSON.parse(json).weightsManifest;
    const name: string = weights[0].name;

    const { error } = await publishFiles(
      { files: new Map([...files, ['model.json', text(json.replaceAll(`"${name}"`, '"../../../../secret"'))]]) },
      'a tensor named like a path',
    );

    expect(['invalid-argument', 'unsupported', undefined]).toContain(error?.code);
  });

  test('a .keras archive whose entries climb', async () => {
    const bytes = zipSync({ '../metadata.json': text('{}'), '../../config.json': text('{}'), '/model.weights.h5': new Uint8Array(8) });

    expect(await refusal(new Map([['model.keras', bytes]]), 'model.keras')).toMatch(/^(invalid-argument|unsupported|not-found)$/);
  });
});

describe('archives that unpack to much more than they are', () => {
  test.each(['config.json', 'model.weights.h5', 'metadata.json'])('%s of a .keras archive', async (name) => {
    const parts = { 'metadata.json': text('{}'), 'config.json': text('{"class_name":"Sequential","config":{"layers":[]}}') };
    const bytes = zipSync({ ...parts, [name]: new Uint8Array(48 * 2 ** 20) }, { level: 6 });
    expect(bytes.byteLength).toBeLessThan(2 ** 20);

    expect(await refusal(new Map([['model.keras', bytes]]), 'model.keras')).toMatch(/^(invalid-argument|unsupported)$/);
  });

  test('sizes that are not what the data unpacks to', async () => {
    const zip = zipSync(
      { 'metadata.json': text('{}'), 'config.json': new Uint8Array(10_000), 'model.weights.h5': new Uint8Array(8) },
      { level: 9 },
    );
    const view = new DataView(zip.buffer);
    for (let at = 0; at + 46 < zip.byteLength; at++) {
      // Central directory: the sizes are 20 and 24 bytes behind the mark.
      if (view.getUint32(at, true) === 0x02014b50) view.setUint32(at + 24, 0xffff_fff0, true);
    }

    expect(await refusal(new Map([['model.keras', zip]]), 'model.keras')).toMatch(/^(invalid-argument|unsupported|integrity-mismatch)$/);
  });
});

describe('absurd shapes', () => {
  test.each([[[2 ** 40, 2 ** 40]], [[2 ** 31, 3]], [[3, 2 ** 52]], [[-1]], [[0, 2 ** 50]]])(
    'a weight of %j in an ONNX file',
    async (dims) => {
      expect(await refusal(onnxWithShape(dims))).toMatch(/^(invalid-argument|unsupported|shape-mismatch)$/);
    },
  );

  test.each([[['n', 2 ** 31]], [['n', 3, 2 ** 40]], [[2 ** 20, 2 ** 20, 3]]])('an input of %j in an ONNX file', async (input) => {
    expect(await refusal(onnxWithShape([3], input))).toMatch(/^(invalid-argument|unsupported|out-of-memory|shape-mismatch)$/);
  });

  test.each([[[2 ** 30, 2 ** 30]], [[-3, 2]], [[1.5, 4]], [[Number.MAX_SAFE_INTEGER, 2]]])(
    'a weight of %j in a LayersModel',
    async (shape) => {
      expect(await refusal(layersModel(shape))).toMatch(/^(invalid-argument|unsupported|shape-mismatch)$/);
    },
  );

  test.each([[{ offset: 2 ** 50 }], [{ length: 2 ** 50 }], [{ offset: -4 }], [{ dims: [2 ** 50] }]])(
    'external data of %j',
    async (claim) => {
      expect(await refusal(externalOnnx(claim))).toMatch(/^(invalid-argument|unsupported)$/);
    },
  );

  test.each([
    ['dim { size: 4 }', 'dim { size: 4611686018427387904 }'],
    ['dim { size: 4 }', 'dim { size: -7 }'],
  ])('an input of a GraphDef: %s becomes %s', async (from, to) => {
    const { files } = named('GraphDef in text');
    const given = new TextDecoder().decode(files.get('frozen.pbtxt'));
    const changed = given.replace(new RegExp(from.replaceAll(/\s+/g, '\\s*').replaceAll('{', '\\{').replaceAll('}', '\\}'), 's'), to);
    expect(changed).not.toBe(given);

    expect(await refusal(new Map([['frozen.pbtxt', text(changed)]]), 'frozen.pbtxt')).toMatch(
      /^(invalid-argument|unsupported|out-of-memory)$/,
    );
  });

  test('a graph that asks for more memory than there is', async () => {
    const graph = `
      node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } }
        attr { key: "shape" value { shape { dim { size: -1 } } } } }
      node { name: "dims" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
        attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape { dim { size: 3 } } int_val: 65536 int_val: 65536 int_val: 64 } } } }
      node { name: "zero" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
        attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { } float_val: 0 } } } }
      node { name: "big" op: "Fill" input: "dims" input: "zero" attr { key: "T" value { type: DT_FLOAT } }
        attr { key: "index_type" value { type: DT_INT32 } } }
      node { name: "sum" op: "Sum" input: "big" input: "axis" attr { key: "T" value { type: DT_FLOAT } }
        attr { key: "Tidx" value { type: DT_INT32 } } attr { key: "keep_dims" value { b: false } } }
      node { name: "axis" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
        attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape { dim { size: 3 } } int_val: 0 int_val: 1 int_val: 2 } } } }
      node { name: "y" op: "Add" input: "x" input: "sum" attr { key: "T" value { type: DT_FLOAT } } }`;

    expect(await refusal(new Map([['graph.pbtxt', text(graph)]]), 'graph.pbtxt')).toMatch(/^(invalid-argument|unsupported|out-of-memory)$/);
  });
});

/** The code of the error that some files are refused with. */
async function refusal(files: Files, entry?: string): Promise<string | undefined> {
  const { error } = await publishFiles({ files, ...(entry !== undefined && { entry }) }, entry ?? 'a folder');
  return error?.code;
}

function replaceAll(bytes: Uint8Array, from: string, to: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(Buffer.from(bytes).toString('latin1').replaceAll(from, to), 'latin1'));
}
