import { NearfarError } from '../../errors.ts';
import type { ColumnSpec, TensorInfo } from '../../manifest/index.ts';
import { parseLabels } from '../../postprocess/index.ts';
import { type Cell, type Column, createColumn, type EncodeCell, widthOf } from '../../preprocess/table/index.ts';
import { type AnyTensor, createTensor } from '../../tensor/index.ts';
import { decodeClasses, readLabels, type TopKOptions } from '../classes.ts';
import type { Classification } from '../image-classification.ts';
import { parseTask } from '../parse-task.ts';
import { assertCount, assertNotEmpty, declaredInput, type EncodedBatch, floatOutput, type OpenedTask, type TaskSource } from '../task.ts';

/** Cells by the names of their columns. */
export type Row = Readonly<Record<string, Cell | undefined>>;

/** Classification of rows of a table. */
export async function openTabularClassification(source: TaskSource): Promise<OpenedTask<Row, TopKOptions, Classification[]>> {
  const { signature, input, output } = parseTask(source.manifest, 'tabular-classification');
  const labels = await readLabels(source, output.labels);
  const encode = await openRowEncoder(source, signature, input.columns);
  const outputs = [output.name];
  return { signature, outputs, encode, decode: (tensors, batch, options) => decodeClasses(tensors, batch, output, labels, options) };
}

/** Numbers about rows of a table: as many per row as the model gives. */
export async function openTabularRegression(source: TaskSource): Promise<OpenedTask<Row, object, readonly number[]>> {
  const { signature, input, output } = parseTask(source.manifest, 'tabular-regression');
  const { name, scale = 1, offset = 0 } = output;
  return {
    signature,
    outputs: [name],
    encode: await openRowEncoder(source, signature, input.columns),
    decode: (tensors, batch) => {
      const { shape, data } = floatOutput(tensors, name, [1, 2]);
      assertCount(name, shape, batch);
      const width = data.length / batch.count;
      return Array.from({ length: batch.count }, (_, row) =>
        Array.from(data.subarray(row * width, (row + 1) * width), (value) => value * scale + offset),
      );
    },
  };
}

/** The columns that stand side by side in one input. */
interface ColumnGroup {
  readonly input: string;
  readonly info: TensorInfo;
  readonly columns: readonly { readonly column: Column; readonly encode: EncodeCell; readonly at: number }[];
  readonly width: number;
}

async function openRowEncoder(
  source: TaskSource,
  signature: string,
  specs: readonly ColumnSpec[],
): Promise<(rows: readonly Row[]) => EncodedBatch> {
  const known = new Set(specs.map(({ name }) => name));
  const groups = await Promise.all(
    [...new Set(specs.map(({ input }) => input))].map((input) => openGroup(source, signature, specs, input)),
  );
  return (rows) => {
    assertNotEmpty(rows);
    for (const row of rows) {
      const unknown = Object.keys(row).find((name) => !known.has(name));
      if (unknown === undefined) continue;
      throw new NearfarError('invalid-argument', `the table has no column "${unknown}"; its columns: ${[...known].join(', ')}`, {
        details: { column: unknown, columns: [...known] },
      });
    }
    return { tensors: Object.fromEntries(groups.map((group) => [group.input, encodeGroup(group, rows)])), count: rows.length };
  };
}

async function openGroup(source: TaskSource, signature: string, specs: readonly ColumnSpec[], input: string): Promise<ColumnGroup> {
  const own = await Promise.all(specs.filter((spec) => spec.input === input).map((spec) => toColumn(source, spec)));
  let width = 0;
  const columns = own.map((column) => {
    const at = width;
    width += widthOf(column);
    return { column, encode: createColumn(column), at };
  });
  return { input, info: declaredInput(source.manifest, signature, input), columns, width };
}

async function toColumn({ readFile }: TaskSource, { name, transform, oneHot, missing }: ColumnSpec): Promise<Column> {
  if (transform.kind !== 'vocabulary') return { name, transform, oneHot, missing };
  const { terms } = transform;
  return {
    name,
    transform: { ...transform, terms: typeof terms === 'string' ? parseLabels(await readFile(terms)) : terms },
    oneHot,
    missing,
  };
}

function encodeGroup({ input, info, columns, width }: ColumnGroup, rows: readonly Row[]): AnyTensor {
  if (info.dtype === 'string') return encodeTexts({ input, info, columns, width }, rows);
  const values = new Float64Array(rows.length * width);
  for (const [index, row] of rows.entries()) {
    for (const { column, encode, at } of columns)
      encode(Object.hasOwn(row, column.name) ? row[column.name] : undefined, values, index * width + at);
  }
  const shape = shapeOf(info, rows.length, width);
  switch (info.dtype) {
    case 'float32':
      return createTensor('float32', shape, Float32Array.from(values));
    case 'float64':
      return createTensor('float64', shape, values);
    case 'int32':
      return createTensor('int32', shape, Int32Array.from(values));
    case 'int64':
      return createTensor(
        'int64',
        shape,
        BigInt64Array.from(values, (value) => toInt64(input, value)),
      );
    default:
      throw new NearfarError(
        'unsupported',
        `input "${input}" takes columns as float32, float64, int32, int64 or string, the signature says ${info.dtype}`,
        {
          details: { name: input, dtype: info.dtype },
        },
      );
  }
}

/** Texts for a model that looks them up itself: columns without a transform. */
function encodeTexts({ input, info, columns, width }: ColumnGroup, rows: readonly Row[]): AnyTensor {
  const encoder = new TextEncoder();
  const texts = rows.flatMap((row) =>
    columns.map(({ column: { name, transform, missing } }) => {
      const cell = (Object.hasOwn(row, name) ? row[name] : undefined) ?? missing;
      if (transform.kind === 'none' && cell !== undefined && cell !== null) return encoder.encode(String(cell));
      throw new NearfarError('invalid-argument', `column "${name}" of input "${input}" takes a text without a transform`, {
        details: { column: name },
      });
    }),
  );
  return createTensor('string', shapeOf(info, rows.length, width), texts);
}

/** One value per row may be declared as a vector. */
function shapeOf({ shape }: TensorInfo, rows: number, width: number): number[] {
  return width === 1 && shape.length === 1 ? [rows] : [rows, width];
}

function toInt64(input: string, value: number): bigint {
  if (Number.isFinite(value)) return BigInt(Math.trunc(value));
  throw new NearfarError('invalid-argument', `input "${input}" takes whole numbers, got ${value}`, {
    details: { name: input, got: value },
  });
}
