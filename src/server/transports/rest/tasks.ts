import type { FastifyInstance, FastifyRequest } from 'fastify';
import * as v from 'valibot';
import {
  NearfarError,
  type OpenedTask,
  type PictureTask,
  type PreparedPicture,
  type TaskCall,
  type TaskSource,
  takesPicture,
} from '../../../core/index.ts';
import { openTask } from '../../../core/tasks/open-task/index.ts';
import { pictureInputOf } from '../../../core/tasks/picture/index.ts';
import type { ServableHandle } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { checkPredictRequest } from '../predict-request.ts';
import { assertJsonSize } from './json-limit.ts';
import { onceByVersion } from './once-by-version.ts';
import { answerPicture } from './picture-answer.ts';
import { readPicture } from './read-picture.ts';
import { answerRest, bodyBytes, bodyJson } from './rest-call.ts';
import { aboutVersion, addTaskRoute, type RanTask } from './task-route.ts';

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

/** The tasks beside image classification: the body is the input, a text, a row or a sound as JSON, or a picture. */
export function addTasks(app: FastifyInstance, context: RestContext): void {
  const json = <Input>(schema: v.GenericSchema<unknown, Input>): ReadInput<Input> => {
    return (request) => {
      assertJsonSize(context, bodyBytes(request).length);
      return parseInput(schema, bodyJson(request));
    };
  };
  const picture = (task: PictureTask): ReadInput<PreparedPicture> => {
    return (request, { manifest }, signal) => readPicture(context, request, pictureInputOf(manifest, task), signal);
  };
  const [text, row, pictureOfEmbeddings] = [json(textSchema), json(rowSchema), picture('embeddings')];

  addTask(app, context, 'text-classification', (source) => openTask('text-classification', source), text, answerHere);
  addTask(app, context, 'audio-classification', (source) => openTask('audio-classification', source), json(soundSchema), answerHere);
  addTask(app, context, 'tabular-classification', (source) => openTask('tabular-classification', source), row, answerHere);
  addTask(app, context, 'tabular-regression', (source) => openTask('tabular-regression', source), row, answerHere);
  addTask(
    app,
    context,
    'embeddings',
    async (source) => {
      const task = await openTask('embeddings', source);
      return { ...task, decode: (outputs, batch, options) => task.decode(outputs, batch, options).map((vector) => Array.from(vector)) };
    },
    (request, handle, signal) => {
      return takesPicture(handle.manifest, 'embeddings') ? pictureOfEmbeddings(request, handle, signal) : text(request, handle, signal);
    },
    answerHere,
  );
  const answerInThread = answerPicture(context);
  for (const task of ['object-detection', 'image-segmentation', 'image-to-image'] as const)
    addTask(
      app,
      context,
      task,
      (source) => openTask(task, source),
      picture(task),
      (call) => answerInThread(task, call),
    );
}

type ReadInput<Input> = (request: FastifyRequest, handle: ServableHandle, signal: AbortSignal) => Input | Promise<Input>;

type Decode = OpenedTask<never, TaskCall['options'], unknown>['decode'];

function answerHere({ outputs, batch, options, handle }: RanTask, decode: Decode): object {
  const [output] = decode(outputs, batch, options);
  return { ...aboutVersion(handle), output };
}

function addTask<Input>(
  app: FastifyInstance,
  context: RestContext,
  name: TaskCall['task'],
  open: (source: TaskSource) => Promise<OpenedTask<Input, TaskCall['options'], unknown>>,
  read: ReadInput<Input>,
  answer: (ran: RanTask, decode: Decode) => object | Promise<object>,
): void {
  const openOnce = onceByVersion(context, open);
  addTaskRoute(app, name, async (request, reply, { spec, options }) =>
    answerRest(
      context,
      request,
      reply,
      { spec, api: name },
      {
        decode: async (handle, { signal }) => {
          const task = await openOnce(handle);
          const batch = task.encode([await read(request, handle, signal)]);
          const { signature, outputs } = task;
          return { task, batch, signal, run: checkPredictRequest(handle.manifest, { signature, inputs: batch.tensors, outputs }) };
        },
        encode: (outputs, { task, batch, signal }, handle) =>
          answer({ outputs, batch, options, handle, request, reply, signal }, task.decode),
      },
    ),
  );
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
