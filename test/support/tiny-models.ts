import type { DType, Manifest, Variant, VariantSource } from '../../src/core/index.ts';

/** ONNX element types by their number in TensorProto.DataType (onnx.proto3). */
const onnxTypes: Partial<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
};

/**
 * An ONNX model of one node, `y = op(x)`, over vectors of any length, or tensors of another rank and any sizes.
 * @param options.isNamed Whether open sizes have names.
 */
export function tinyOnnx(dtype: DType, op = 'Identity', { rank = 1, isNamed = true } = {}): VariantSource {
  const type = onnxTypes[dtype] ?? 0;
  const shape = Array.from({ length: rank }, (_, axis) => bytes(1, isNamed ? bytes(2, text(`n${axis}`)) : [])).flat();
  const vector = bytes(1, [...varint(1, type), ...bytes(2, shape)]);
  const value = (name: string) => [...bytes(1, text(name)), ...bytes(2, vector)];
  const node = [...bytes(1, text('x')), ...bytes(2, text('y')), ...bytes(4, text(op))];
  const graph = [...bytes(1, node), ...bytes(2, text('g')), ...bytes(11, value('x')), ...bytes(12, value('y'))];
  const model = [...varint(1, 8), ...bytes(7, graph), ...bytes(8, varint(2, 13))];
  return sourceOf('onnx', dtype, dtype, { 'model.onnx': Uint8Array.from(model) }, 'model.onnx', rank);
}

const tfTypes: Partial<Record<DType, string>> = {
  float32: 'DT_FLOAT',
  float64: 'DT_DOUBLE',
  float16: 'DT_HALF',
  bfloat16: 'DT_BFLOAT16',
  int32: 'DT_INT32',
  int64: 'DT_INT64',
  uint8: 'DT_UINT8',
  int8: 'DT_INT8',
  int16: 'DT_INT16',
  uint16: 'DT_UINT16',
  uint32: 'DT_UINT32',
  uint64: 'DT_UINT64',
  bool: 'DT_BOOL',
  string: 'DT_STRING',
  complex64: 'DT_COMPLEX64',
};

/** A GraphModel of `y = op(x)` over vectors; more operators become nodes that nothing uses. */
export function tinyTfjs(dtype: DType, ops: readonly string[] = ['Identity'], output: DType = dtype): VariantSource {
  const type = { type: tfTypes[dtype] };
  const model = {
    format: 'graph-model',
    modelTopology: {
      node: [
        { name: 'x', op: 'Placeholder', attr: { dtype: type, shape: { shape: { dim: [{ size: '-1' }] } } } },
        ...ops.map((op, index) => ({ name: index === 0 ? 'y' : `y${index}`, op, input: ['x'], attr: { T: type } })),
      ],
      library: {},
      versions: { producer: 1, minConsumer: 0 },
    },
    weightsManifest: [],
  };
  return sourceOf('tfjs-graph', dtype, output, { 'model.json': new TextEncoder().encode(JSON.stringify(model)) }, 'model.json');
}

function sourceOf(
  format: Variant['format'],
  dtype: DType,
  output: DType,
  files: Record<string, Uint8Array<ArrayBuffer>>,
  entry: string,
  rank = 1,
): VariantSource {
  const shape = new Array<number>(rank).fill(-1);
  const variant: Variant = {
    id: `${format}-tiny`,
    format,
    precision: 'float32',
    entry,
    files: Object.keys(files),
    requires: [],
    tolerance: { absolute: 0, relative: 0 },
  };
  const manifest: Manifest = {
    schemaVersion: 1,
    name: 'tiny',
    version: '1',
    signatures: {
      serving_default: { method: 'predict', inputs: { x: { dtype, shape } }, outputs: { y: { dtype: output, shape } } },
    },
    variants: [variant],
    files: {},
    golden: [],
  };
  return { manifest, variant, readFile: async (path) => files[path]! };
}

// Protocol buffers: a length-delimited field, and a varint below 128.
function bytes(field: number, content: readonly number[]): number[] {
  return [(field << 3) | 2, content.length, ...content];
}

function varint(field: number, value: number): number[] {
  return [field << 3, value];
}

function text(value: string): number[] {
  return [...new TextEncoder().encode(value)];
}
