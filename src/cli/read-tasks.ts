import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { NearfarError, type TaskName, type Tasks, taskReferences } from '../core/index.ts';
import { type DeclaredTasks, type ImageClassificationOptions, type PublishOptions, readLabels } from '../publish/index.ts';

/** The options of a command that say what a model is for. */
export interface TaskFlags {
  readonly task?: TaskName | 'none';
  /** JSON with the fields of that task, or with several tasks by their names. */
  readonly taskSpec?: string;
  readonly labels?: string;
  readonly tokenizer?: string;
  readonly preprocessor?: string;
  readonly input?: string;
  readonly output?: string;
  readonly activation?: 'none' | 'softmax' | 'sigmoid';
  readonly shorterSide?: number;
  readonly crop?: [number, number];
  readonly scale?: number;
  readonly mean?: [number, number, number];
  readonly std?: [number, number, number];
}

/**
 * The tasks that the options declare, with their files.
 * @throws {NearfarError} `invalid-argument` for options that do not belong together; `not-found` for a file.
 */
export async function readTasks(flags: TaskFlags): Promise<Pick<PublishOptions, 'task' | 'tasks'>> {
  const { task, taskSpec, labels, tokenizer, input, output, activation } = flags;
  const { preprocessor, shorterSide, crop, scale, mean, std } = flags;
  const ofAny = { labels, input, output, activation };
  const ofPictures = { preprocessor, shorterSide, crop, scale, mean, std };
  const read = taskSpec === undefined ? undefined : await readSpec(taskSpec);
  if (task === 'image-classification') {
    refuse({ tokenizer }, 'a task of texts');
    const files = { labels: await readOptional(labels), preprocessor: await readOptional(preprocessor) };
    return {
      task: { ...ofAny, ...ofPictures, ...files, task } satisfies ImageClassificationOptions,
      tasks: read && (await withFiles(read)),
    };
  }
  if (task === undefined || task === 'none') {
    refuse({ ...ofAny, tokenizer, ...ofPictures }, 'a task; add --task image-classification, or another one');
    return { task, tasks: read && (await withFiles(read)) };
  }
  refuse(ofPictures, 'image-classification; those of another task stand in the file of --task-spec');
  if (task.startsWith('tabular-')) refuse({ input }, 'a task with one input; columns name theirs in the file of --task-spec');
  if (task === 'object-detection') refuse({ output }, 'a task with one output; detection names its tensors in the file of --task-spec');
  const { spec: { [task]: own, ...alone } = {}, folder = '.' } = read ?? {};
  const spec = own === undefined ? alone : objectOf(own);
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  if (labels !== undefined) files.set('labels.txt', new TextEncoder().encode(`${readLabels(await readBytes(labels)).join('\n')}\n`));
  if (tokenizer !== undefined) files.set('tokenizer.json', await readBytes(tokenizer));
  const inputName = task === 'text-classification' || tokenizer !== undefined ? 'ids' : 'name';
  const whole = {
    ...spec,
    input: {
      ...objectOf(spec['input']),
      ...(tokenizer !== undefined && { tokenizer: 'tokenizer.json' }),
      ...(input !== undefined && { [inputName]: input }),
    },
    output: {
      ...objectOf(spec['output']),
      ...(labels !== undefined && { labels: 'labels.txt' }),
      ...(activation !== undefined && { activation }),
      ...(output !== undefined && { name: output }),
    },
  };
  return { task: 'none', tasks: await withFiles({ spec: { [task]: whole }, folder }, files) };
}

interface ReadSpec {
  readonly spec: Readonly<Record<string, unknown>>;
  readonly folder: string;
}

async function readSpec(path: string): Promise<ReadSpec> {
  const text = new TextDecoder().decode(await readBytes(path));
  try {
    return { spec: objectOf(JSON.parse(text)), folder: dirname(path) };
  } catch (cause) {
    throw new NearfarError('invalid-argument', `${path} is not JSON: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** With the files that the tasks name, which lie beside the JSON. */
async function withFiles(
  { spec, folder }: ReadSpec,
  given: ReadonlyMap<string, Uint8Array<ArrayBuffer>> = new Map(),
): Promise<DeclaredTasks> {
  const files = new Map(given);
  for (const path of taskReferences(spec as Tasks).flatMap((task) => task.files))
    if (!files.has(path)) files.set(path, await readBytes(join(folder, path)));
  return { specs: spec, files };
}

function refuse(flags: Readonly<Record<string, unknown>>, owner: string): void {
  const given = Object.entries(flags).filter(([, value]) => value !== undefined);
  if (given.length > 0) throw new NearfarError('invalid-argument', `${given.map(([key]) => key).join(', ')} belong to ${owner}`);
}

function objectOf(value: unknown = {}): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Readonly<Record<string, unknown>>;
  throw new NearfarError('invalid-argument', `a task is described by a JSON object, got ${JSON.stringify(value)}`);
}

async function readOptional(file: string | undefined): Promise<Uint8Array | undefined> {
  return file === undefined ? undefined : await readBytes(file);
}

export async function readBytes(file: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(file));
  } catch (cause) {
    throw new NearfarError('not-found', `cannot read ${file}`, { cause, details: { file } });
  }
}
