import type { AnyTensor, DType, Manifest, VariantSource } from '../../src/core/index.ts';

// Small GraphModels written by hand. No import but of types: pages use this too.

export interface TestNode {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr?: Readonly<Record<string, unknown>>;
}

export function node(name: string, op: string, input: readonly string[] = [], attr: Readonly<Record<string, unknown>> = {}): TestNode {
  return { name, op, input, attr };
}

const typeNames: Partial<Record<DType, string>> = {
  float32: 'DT_FLOAT',
  float64: 'DT_DOUBLE',
  int32: 'DT_INT32',
  int64: 'DT_INT64',
  uint8: 'DT_UINT8',
  bool: 'DT_BOOL',
  string: 'DT_STRING',
  complex64: 'DT_COMPLEX64',
};

/** Attributes as GraphDef's JSON has them. */
export const type = (dtype: DType) => ({ type: typeNames[dtype] });
export const text = (value: string) => ({ s: btoa(value) });
export const int = (value: number) => ({ i: String(value) });
export const float = (value: number) => ({ f: value });
export const bool = (value: boolean) => ({ b: value });
export const ints = (values: readonly number[]) => ({ list: { i: values.map(String) } });
export const texts = (values: readonly string[]) => ({ list: { s: values.map((value) => btoa(value)) } });
export const types = (values: readonly DType[]) => ({ list: { type: values.map((value) => typeNames[value]) } });
export const shapes = (values: readonly (readonly number[])[]) => ({ list: { shape: values.map((value) => shapeOf(value)) } });
export const shape = (sizes: readonly number[]) => ({ shape: shapeOf(sizes) });

function shapeOf(sizes: readonly number[]) {
  return { dim: sizes.map((size) => ({ size: String(size) })) };
}

export function placeholder(name: string, dtype: DType, sizes?: readonly number[]): TestNode {
  return node(name, 'Placeholder', [], { dtype: type(dtype), ...(sizes && { shape: shape(sizes) }) });
}

/** A weight: float32, int32, bool or string. */
export interface Weight {
  readonly name: string;
  readonly dtype: 'float32' | 'int32' | 'bool' | 'string';
  readonly shape: readonly number[];
  readonly values: readonly (number | string)[];
}

export function weight(name: string, dtype: Weight['dtype'], sizes: readonly number[], values: Weight['values']): Weight {
  return { name, dtype, shape: sizes, values };
}

export interface GraphModelParts {
  readonly nodes: readonly TestNode[];
  /** Each becomes a `Const` of the graph, unless a node has its name. */
  readonly weights?: readonly Weight[];
  readonly initializer?: readonly TestNode[];
  readonly functions?: readonly unknown[];
  /** Inputs and outputs by dtype; the names are those of nodes, or `node:index`. */
  readonly signatures: Readonly<
    Record<string, { readonly inputs: Readonly<Record<string, DType>>; readonly outputs: Readonly<Record<string, DType>> }>
  >;
}

/** A variant of one GraphModel, in memory. */
export function graphSource({ nodes, weights = [], initializer, functions = [], signatures }: GraphModelParts): VariantSource {
  const named = new Set([...nodes, ...(initializer ?? [])].map(({ name }) => name));
  const constants = weights
    .filter(({ name }) => !named.has(name))
    .map(({ name, dtype }) => node(name, 'Const', [], { dtype: type(dtype) }));
  const model = {
    format: 'graph-model',
    modelTopology: { node: [...nodes, ...constants], library: { function: functions }, versions: { producer: 1, minConsumer: 0 } },
    weightsManifest: [{ paths: ['weights.bin'], weights: weights.map(({ name, dtype, shape }) => ({ name, dtype, shape })) }],
    ...(initializer && { modelInitializer: { node: initializer, versions: { producer: 1, minConsumer: 0 } } }),
  };
  const files: Record<string, Uint8Array<ArrayBuffer>> = {
    'model.json': new TextEncoder().encode(JSON.stringify(model)),
    'weights.bin': Uint8Array.from(weights.flatMap(bytesOf)),
  };
  const manifest: Manifest = {
    schemaVersion: 1,
    name: 'graph',
    version: '1',
    signatures: Object.fromEntries(
      Object.entries(signatures).map(([name, { inputs, outputs }]) => {
        const infos = (dtypes: Readonly<Record<string, DType>>) => {
          return Object.fromEntries(Object.entries(dtypes).map(([tensor, dtype]) => [tensor, { dtype, shape: [-1] }]));
        };
        return [name, { method: 'predict' as const, inputs: infos(inputs), outputs: infos(outputs) }];
      }),
    ),
    variants: [],
    files: {},
    golden: [],
  };
  const variant = {
    id: 'tfjs-float32',
    format: 'tfjs-graph' as const,
    precision: 'float32' as const,
    entry: 'model.json',
    files: Object.keys(files),
    requires: [],
    tolerance: { absolute: 0, relative: 0 },
  };
  return { manifest, variant, readFile: async (path) => files[path]! };
}

function bytesOf({ dtype, values }: Weight): number[] {
  switch (dtype) {
    case 'float32':
      return [...new Uint8Array(Float32Array.from(values, Number).buffer)];
    case 'int32':
      return [...new Uint8Array(Int32Array.from(values, Number).buffer)];
    case 'bool':
      return values.map(Number);
    case 'string':
      return values.flatMap((value) => {
        const bytes = [...new TextEncoder().encode(String(value))];
        return [...new Uint8Array(Uint32Array.of(bytes.length).buffer), ...bytes];
      });
  }
}

/** A tensor of strings, as UTF-8. */
export function strings(values: readonly (string | Uint8Array)[], sizes: readonly number[] = [values.length]): AnyTensor {
  const data = values.map((value) => (typeof value === 'string' ? new TextEncoder().encode(value) : value));
  return { dtype: 'string', shape: sizes, data };
}

export function stringsOf(tensor: AnyTensor): string[] {
  if (tensor.dtype !== 'string') throw new Error(`expected strings, got ${tensor.dtype}`);
  return tensor.data.map((bytes) => new TextDecoder().decode(bytes));
}
