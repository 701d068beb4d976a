import type { FastifyInstance } from 'fastify';
import * as v from 'valibot';
import { NearfarError, type OpenedTask, type TaskName, type TaskSource, type TopKOptions } from '../../../core/index.ts';
import { openTask } from '../../../core/tasks/open-task/index.ts';
import type { ServableHandle } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { checkPredictRequest } from '../predict-request.ts';
import { readVersionFile } from '../version-file.ts';
import { assertJsonSize } from './json-limit.ts';
import { answerRest, bodyBytes, bodyJson } from './rest-call.ts';
import { addTaskRoute } from './task-route.ts';

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
const samplesSchema = v.pipe(
  v.array(v.number('a sample is a number'), 'a channel is a list of samples'),
  v.transform((samples) => Float64Array.from(samples)),
);
const soundSchema = v.strictObject(
  { sampleRate: v.number('sampleRate is a number'), channels: v.array(samplesSchema, 'channels is a list of channels') },
  'a sound is {"sampleRate": …, "channels": [[…], …]}',
);

/** The tasks whose input is a text, a row or a sound: the body is that input as JSON. */
export function addJsonTasks(app: FastifyInstance, context: RestContext): void {
  addJsonTask(app, context, 'text-classification', textSchema, (source) => openTask('text-classification', source));
  addJsonTask(app, context, 'audio-classification', soundSchema, (source) => openTask('audio-classification', source));
  addJsonTask(app, context, 'tabular-classification', rowSchema, (source) => openTask('tabular-classification', source));
  addJsonTask(app, context, 'tabular-regression', rowSchema, (source) => openTask('tabular-regression', source));
  addJsonTask(app, context, 'embeddings', textSchema, async (source) => {
    const task = await openTask('embeddings', source);
    return { ...task, decode: (outputs, batch, options) => task.decode(outputs, batch, options).map((vector) => Array.from(vector)) };
  });
}

function addJsonTask<Input, Answer>(
  app: FastifyInstance,
  context: RestContext,
  name: TaskName,
  schema: v.GenericSchema<unknown, Input>,
  open: (source: TaskSource) => Promise<OpenedTask<Input, TopKOptions, Answer>>,
): void {
  const openOnce = onceByVersion(context, open);
  addTaskRoute(app, name, async (request, reply, { spec, topK }) =>
    answerRest(
      context,
      request,
      reply,
      { spec, api: name },
      {
        decode: async (handle) => {
          assertJsonSize(context, bodyBytes(request).length);
          const task = await openOnce(handle);
          const batch = task.encode([parseInput(schema, bodyJson(request))]);
          const { signature, outputs } = task;
          return { task, batch, run: checkPredictRequest(handle.manifest, { signature, inputs: batch.tensors, outputs }) };
        },
        encode: (outputs, { task, batch }, { name: model, version, digest, backend, variant }) => {
          const [output] = task.decode(outputs, batch, { topK });
          return { model_name: model, model_version: version, digest, backend, variant, output };
        },
      },
    ),
  );
}

const maxOpened = 64;

/** A task opened once per version, by the version's digest; one that failed is tried again. */
function onceByVersion<Task>(
  { files }: RestContext,
  open: (source: TaskSource) => Promise<Task>,
): (handle: ServableHandle) => Promise<Task> {
  const opened = new Map<string, Promise<Task>>();
  return (handle) => {
    const { digest, manifest } = handle;
    const known = opened.get(digest);
    if (known) return known;
    const opening = open({ manifest, readFile: (path) => readVersionFile(files, handle, path) });
    if (opened.size >= maxOpened) opened.clear();
    opened.set(digest, opening);
    opening.catch(() => opened.delete(digest));
    return opening;
  };
}

function parseInput<Input>(schema: v.GenericSchema<unknown, Input>, json: unknown): Input {
  const result = v.safeParse(schema, json);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  throw new NearfarError('invalid-argument', `${path === null ? 'the body' : `the body at ${path}`} is not as expected: ${issue.message}`, {
    details: { path, message: issue.message },
  });
}
