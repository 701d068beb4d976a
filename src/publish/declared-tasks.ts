import {
  type Manifest,
  NearfarError,
  type OpenedTask,
  type TaskCall,
  type TaskSource,
  type TensorMap,
  taskNames,
  taskReferences,
} from '../core/index.ts';
import { openTask } from '../core/tasks/open-task/index.ts';
import { completeSignature, mainSignature, type NamedSignature } from './signature.ts';
import { completeInput, completeOutput, type Fields } from './task-defaults.ts';
import { createSamples } from './task-samples.ts';

/** Tasks as a manifest has them, and the files that they read. */
export interface DeclaredTasks {
  /**
   * By the names of the tasks; image classification is not among them. What is left out follows the model: the signature, the name of an
   * only input or output, the layout and the size of pictures (which are then stretched, and scaled by 1/255), the usual names of a text's inputs.
   */
  readonly specs: Readonly<Record<string, unknown>>;
  /** Labels, tokenizers and lists of terms, by the paths that the specs have for them. */
  readonly files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

interface Spec {
  readonly signature: string;
  readonly input: Fields;
  readonly output: Fields;
}

type Signatures = Manifest['signatures'];

interface Example {
  readonly signature: string;
  readonly inputs: TensorMap;
  readonly outputs: TensorMap;
}

/** The declared tasks of a version that is being built. */
export interface ResolvedTasks {
  /** As the manifest has them. */
  readonly specs: Readonly<Record<string, Spec>>;
  /** The layout of the pictures that a signature takes. */
  layoutOf(signature: string): 'NHWC' | 'NCHW' | undefined;
  /** Made-up inputs of a signature as its first task encodes them; undefined where it has none, or one that does not fill all inputs. */
  goldenInputs(signature: string): Promise<readonly TensorMap[] | undefined>;
  /**
   * Answers the golden outputs by each task.
   * @throws {NearfarError} what a task throws that does not fit the model.
   */
  check(signatures: Signatures, examples: readonly Example[]): Promise<void>;
}

/**
 * Completes tasks and opens each once.
 * @throws {NearfarError} `invalid-argument` for a task that nearfar does not have, a field that is missing or wrong, a name that the model does
 * not have, or a file that is not given; `unsupported` for a tokenizer with something that nearfar does not have.
 */
export async function resolveDeclaredTasks(
  named: ReadonlyMap<string, NamedSignature>,
  { specs: given, files }: DeclaredTasks,
): Promise<ResolvedTasks> {
  const specs = Object.fromEntries(Object.entries(given).map(([name, spec]) => [assertName(name), complete(name, spec, named)]));
  const references = taskReferences(specs);
  for (const { name, files: needed } of references) for (const path of needed) assertGiven(name, path, files);
  const declared = references.map(({ name }) => ({ name: name as TaskCall['task'], ...(specs[name] as Spec) }));
  const sourceOf = (signatures: Signatures): TaskSource => ({
    manifest: { schemaVersion: 1, name: 'the model', version: '1', signatures, tasks: specs, variants: [], files: {}, golden: [] },
    readFile: async (path) => files.get(path) ?? new Uint8Array(),
  });
  const open = async (name: TaskCall['task'], signatures: Signatures) => {
    return (await openTask(name, sourceOf(signatures))) as unknown as OpenedTask<unknown, { topK: number }, unknown>; // samples are of its kind
  };
  const encodeSamples = async ({ name, signature, input }: (typeof declared)[number], signatures: Signatures) => {
    const task = await open(name, signatures);
    const tensors = named.get(signature) ?? { inputs: [], outputs: [] };
    const batches = createSamples(name, { input, files, tensors }).map((sample) => task.encode([sample]));
    return { task, batches };
  };
  const provisional = Object.fromEntries([...named].map(([name, tensors]) => [name, completeSignature(tensors, undefined)]));
  // What is wrong in a spec or a file is told before the model runs.
  for (const task of declared) await encodeSamples(task, provisional);
  return {
    specs,
    layoutOf: (signature) => references.find((task) => task.signature === signature && task.layout)?.layout,
    async goldenInputs(signature) {
      const first = declared.find((task) => task.signature === signature);
      if (!first) return undefined;
      const { batches } = await encodeSamples(first, provisional);
      const isWhole = named.get(signature)?.inputs.every(({ name }) => batches.every(({ tensors }) => Object.hasOwn(tensors, name)));
      return isWhole ? batches.map(({ tensors }) => tensors) : undefined;
    },
    async check(signatures, examples) {
      for (const declaredTask of declared) {
        const { name, signature } = declaredTask;
        const info = signatures[signature];
        if (!info) continue;
        const { task, batches } = await encodeSamples(declaredTask, signatures);
        const [batch] = batches;
        assertNames(name, 'inputs', Object.keys(batch?.tensors ?? {}), info.inputs);
        assertNames(name, 'outputs', task.outputs, info.outputs);
        const isBatched = Object.values(info.inputs).every(({ shape }) => shape[0] === -1);
        for (const { inputs, outputs } of examples.filter((example) => example.signature === signature)) {
          const count = isBatched ? (Object.values(inputs)[0]?.shape[0] ?? 1) : 1;
          const [size] = batch?.pictures ?? [];
          task.decode(outputs, { tensors: inputs, count, pictures: size && Array.from({ length: count }, () => size) }, { topK: 1 });
        }
      }
    },
  };
}

function assertName(name: string): string {
  if (name === 'image-classification') {
    throw new NearfarError('invalid-argument', 'image-classification is declared by the option task, not among the other tasks');
  }
  if (taskNames.some((known) => known === name)) return name;
  throw new NearfarError('invalid-argument', `nearfar has no task ${name}; its tasks: ${taskNames.join(', ')}`, {
    details: { task: name, tasks: [...taskNames] },
  });
}

function complete(task: string, given: unknown, named: ReadonlyMap<string, NamedSignature>): Spec {
  const { signature: wanted, input, output, ...more } = fieldsOf(task, given);
  const [signature, tensors] = mainSignature(named, typeof wanted === 'string' ? wanted : undefined);
  const completed = completeInput(task, fieldsOf(`${task}.input`, input), tensors);
  const spec = {
    ...more,
    signature,
    input: completed,
    output: completeOutput(task, fieldsOf(`${task}.output`, output), tensors, completed),
  };
  return JSON.parse(JSON.stringify(spec)); // without the fields that stayed open
}

function fieldsOf(path: string, value: unknown = {}): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new NearfarError('invalid-argument', `tasks.${path} is an object, got ${JSON.stringify(value)}`, { details: { path, got: value } });
}

function assertGiven(task: string, path: string, files: DeclaredTasks['files']): void {
  if (files.has(path)) return;
  const given = [...files.keys()];
  throw new NearfarError('invalid-argument', `the task ${task} reads ${path}, which is not given; given: ${given.join(', ') || 'none'}`, {
    details: { task, path, given },
  });
}

function assertNames(task: string, kind: 'inputs' | 'outputs', wanted: readonly string[], known: Readonly<Record<string, unknown>>): void {
  const wrong = wanted.filter((name) => !Object.hasOwn(known, name));
  if (wrong.length === 0) return;
  throw new NearfarError(
    'invalid-argument',
    `the task ${task} names ${kind} ${wrong.join(', ')}; the model has: ${Object.keys(known).join(', ')}`,
    { details: { task, kind, got: wrong, want: Object.keys(known) } },
  );
}
