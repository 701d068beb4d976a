import type { JsonValue } from '@bufbuild/protobuf';
import * as v from 'valibot';
import { type EncodedBatch, NearfarError, type OpenedTask } from '../../core/index.ts';
import { openSentTask, type SentVersion } from '../sent-task.ts';

/** The tasks whose input may come as JSON. */
export type JsonTask = 'text-classification' | 'embeddings' | 'audio-classification' | 'tabular-classification' | 'tabular-regression';

const textSchema = v.union(
  [
    v.string(),
    v.strictObject({ text: v.string(), pair: v.string() }),
    v.pipe(
      v.strictObject({ text: v.string() }),
      v.transform(({ text }) => text),
    ),
  ],
  'a text is a string, {"text": …} or {"text": …, "pair": …}',
);
const rowSchema = v.record(
  v.string(),
  v.nullable(v.union([v.string(), v.number(), v.boolean()], 'a cell is a text, a number, true, false or null')),
  'a row is an object of cells by the names of their columns',
);
// By hand: a schema for each of a million samples takes a second.
const samplesSchema = v.pipe(
  v.custom<unknown[]>(Array.isArray, 'a channel is a list of samples'),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const { value } = dataset;
    const wrong = value.findIndex((sample) => typeof sample !== 'number');
    if (wrong < 0) return Float64Array.from(value as number[]);
    addIssue({
      message: 'a sample is a number',
      path: [{ type: 'array', origin: 'value', input: value, key: wrong, value: value[wrong] }],
    });
    return NEVER;
  }),
);
const soundSchema = v.strictObject(
  { sampleRate: v.number('sampleRate is a number'), channels: v.array(samplesSchema, 'channels is a list of channels') },
  'a sound is {"sampleRate": …, "channels": [[…], …]}',
);

const schemas = {
  'text-classification': textSchema,
  embeddings: textSchema,
  'audio-classification': soundSchema,
  'tabular-classification': rowSchema,
  'tabular-regression': rowSchema,
} satisfies Record<JsonTask, v.GenericSchema>;

/** The input of a task from a body of JSON. @throws {NearfarError} `invalid-argument` with the path of the first wrong value. */
export function parseTaskInput<Task extends JsonTask>(task: Task, body: Uint8Array): v.InferOutput<(typeof schemas)[Task]> {
  const result = v.safeParse<(typeof schemas)[Task]>(schemas[task], parseJsonBody(body));
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  throw new NearfarError('invalid-argument', `${path === null ? 'the body' : `the body at ${path}`} is not as expected: ${issue.message}`, {
    details: { path, message: issue.message },
  });
}

/** @throws {NearfarError} `invalid-argument` for a body that is not JSON. */
export function parseJsonBody(body: Uint8Array): JsonValue {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    throw new NearfarError('invalid-argument', `the body is not JSON: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** What a task of a version makes of a body: the batch, as inputs of its signature. */
export async function encodeTaskInput({
  task,
  version,
  body,
}: {
  readonly task: JsonTask;
  readonly version: SentVersion;
  readonly body: Uint8Array;
}): Promise<{ readonly inputs: EncodedBatch['tensors'] }> {
  // Its input is what the schema of the same task gives.
  const { encode } = (await openSentTask(task, version)) as Pick<OpenedTask<unknown, never, unknown>, 'encode'>;
  return { inputs: encode([parseTaskInput(task, body)]).tensors };
}
