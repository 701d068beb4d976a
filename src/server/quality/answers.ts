import { type Activation, type AnyTensor, activate, type Manifest, type TensorMap, taskReferences } from '../../core/index.ts';

/** The class that came first, and its score. */
export interface TopClass {
  /** Its number, or its name where the model itself answers with names. */
  readonly name: string;
  /** As the model has it, 0 to 1 where that is a probability. */
  readonly confidence: number;
}

/** What of the rows of one output is looked at. */
export type Answers =
  | { readonly kind: 'classes'; readonly output: string; readonly rows: readonly TopClass[] }
  | { readonly kind: 'numbers'; readonly output: string; readonly rows: readonly number[] }
  | { readonly kind: 'vectors'; readonly output: string; readonly rows: readonly ArrayLike<number>[] };

/** How an output is read. Without a task its first answers decide: rows that add up to 1 are classes, others vectors. */
interface Reading {
  readonly output: string;
  kind: Answers['kind'] | 'undecided';
  readonly activation: Activation;
  /** Where the names of its classes are. */
  readonly labels?: string | undefined;
  /** What makes the task's number of the output's. */
  readonly scale?: number | undefined;
  readonly offset?: number | undefined;
}

/** Of one request no more are looked at. */
const mostRows = 64;
/** Longer ones are pictures, masks and the like. */
const mostWidth = 4_096;
/** Rows of float32 probabilities add up to 1 within this. */
const sumTolerance = 1e-3;

/** Reads what is looked at in the answers of one signature. */
export class AnswerReader {
  readonly #readings: readonly Reading[];

  constructor(manifest: Manifest, signature: string) {
    const ofTasks = readingsOfTasks(manifest, signature);
    const { method = 'predict', outputs = {} } = manifest.signatures[signature] ?? {};
    const names = Object.keys(outputs).filter((output) => !ofTasks.some((reading) => reading.output === output));
    // What stands beside the output of a task, such as an attention, is the model's own affair.
    const others = ofTasks.length > 0 ? [] : names;
    this.#readings = [
      ...ofTasks,
      ...others.map((output): Reading => {
        const isClasses = method === 'classify' && (output === 'scores' || output === 'classes');
        return { output, kind: isClasses ? 'classes' : 'undecided', activation: 'none' };
      }),
    ];
  }

  /** Where the names of an output's classes are, as a path among the files of the version. */
  labelsOf(output: string): string | undefined {
    return this.#readings.find((reading) => reading.output === output)?.labels;
  }

  /** At most so many rows of each output that can be looked at. */
  read(outputs: TensorMap): readonly Answers[] {
    return this.#readings.flatMap((reading) => {
      const tensor = outputs[reading.output];
      return tensor ? (readOutput(reading, tensor, outputs) ?? []) : [];
    });
  }
}

function readingsOfTasks({ tasks = {} }: Manifest, signature: string): readonly Reading[] {
  const readings = taskReferences(tasks).flatMap((task): Reading[] => {
    const { output } = tasks[task.name] as { readonly output?: OutputOfTask };
    if (task.signature !== signature || typeof output?.name !== 'string') return [];
    const { name, activation = 'none', labels, scale, offset } = output;
    if (task.name.endsWith('-classification')) return [{ output: name, kind: 'classes', activation, labels }];
    if (task.name === 'tabular-regression') return [{ output: name, kind: 'numbers', activation: 'none', scale, offset }];
    return task.name === 'embeddings' ? [{ output: name, kind: 'vectors', activation: 'none' }] : [];
  });
  return readings.filter(({ output }, index) => readings.findIndex((reading) => reading.output === output) === index);
}

/** Of a task that was checked when it was published. */
interface OutputOfTask {
  readonly name?: unknown;
  readonly activation?: Activation;
  readonly labels?: string;
  readonly scale?: number;
  readonly offset?: number;
}

function readOutput(reading: Reading, tensor: AnyTensor, outputs: TensorMap): Answers | undefined {
  const { output, scale = 1, offset = 0 } = reading;
  const table = tableOf(tensor);
  if (!table || table.rows === 0) return undefined;
  if (reading.kind === 'undecided') reading.kind = decide(table);
  const rows = Array.from({ length: Math.min(table.rows, mostRows) }, (_, row) => row);
  switch (reading.kind) {
    case 'numbers':
      return table.width === 1 ? { kind: 'numbers', output, rows: rows.map((row) => table.data[row]! * scale + offset) } : undefined;
    case 'vectors':
      return { kind: 'vectors', output, rows: rows.map((row) => table.data.subarray(row * table.width, (row + 1) * table.width)) };
    case 'classes': {
      const names = output === 'scores' ? outputs['classes'] : undefined;
      return { kind: 'classes', output, rows: rows.map((row) => topClass(table, row, reading.activation, names)) };
    }
  }
}

interface Table {
  readonly data: Float32Array | Float64Array | Int32Array;
  readonly rows: number;
  readonly width: number;
}

/** @returns undefined for what is no table of numbers, or too wide a one. */
function tableOf({ dtype, shape, data }: AnyTensor): Table | undefined {
  if (dtype !== 'float32' && dtype !== 'float64' && dtype !== 'int32') return undefined;
  const [rows = 1, width = 1, ...more] = shape.length > 2 ? shape.filter((size, axis) => axis === 0 || size !== 1) : shape;
  return more.length === 0 && width > 0 && width <= mostWidth ? { data, rows, width } : undefined;
}

function decide({ data, width }: Table): Answers['kind'] {
  if (width === 1) return 'numbers';
  let sum = 0;
  for (let at = 0; at < width; at++) {
    if (data[at]! < 0) return 'vectors';
    sum += data[at]!;
  }
  return Math.abs(sum - 1) <= sumTolerance ? 'classes' : 'vectors';
}

function topClass({ data, width }: Table, row: number, activation: Activation, names: AnyTensor | undefined): TopClass {
  const raw = Float32Array.from(data.subarray(row * width, (row + 1) * width));
  const scores = activate(raw, activation, width);
  // One sigmoid score is that of the second of two classes.
  if (width === 1) return scores[0]! >= 0.5 ? { name: '1', confidence: scores[0]! } : { name: '0', confidence: 1 - scores[0]! };
  let top = 0;
  for (let at = 1; at < width; at++) if (scores[at]! > scores[top]!) top = at;
  const name = names?.dtype === 'string' ? new TextDecoder().decode(names.data[row * width + top]) : String(top);
  return { name, confidence: scores[top]! };
}
