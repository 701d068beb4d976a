import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type EncodedBatch, type OpenedTask, type PictureTask, type TaskCall, takesPicture } from '../../../core/index.ts';
import { openTask } from '../../../core/tasks/open-task/index.ts';
import { pictureInputOf } from '../../../core/tasks/picture/index.ts';
import { type JsonTask, parseTaskInput } from '../../json/index.ts';
import type { ServableHandle } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { checkPredictRequest } from '../predict-request.ts';
import { assertJsonSize } from './json-limit.ts';
import { largeJsonBytes } from './large-json.ts';
import { onceByVersion } from './once-by-version.ts';
import { answerPicture } from './picture-answer.ts';
import { readPicture } from './read-picture.ts';
import { answerRest, bodyBytes } from './rest-call.ts';
import { sentVersions } from './sent-version.ts';
import { aboutVersion, addTaskRoute, type RanTask } from './task-route.ts';

/** The tasks beside image classification: the body is the input, a text, a row or a sound as JSON, or a picture. */
export function addTasks(app: FastifyInstance, context: RestContext): void {
  const sentVersion = sentVersions(context);
  const json = (name: JsonTask): EncodeBody => {
    return async (request, handle, task, signal) => {
      const body = bodyBytes(request);
      assertJsonSize(context, body.length);
      if (body.length <= largeJsonBytes) return task.encode([parseTaskInput(name, body)]);
      const job = { task: name, version: await sentVersion(handle), body };
      return { tensors: (await context.runJsonJob('encodeTask', job, { signal })).inputs, count: 1 };
    };
  };
  const picture = (name: PictureTask): EncodeBody => {
    return async (request, { manifest }, task, signal) =>
      task.encode([await readPicture(context, request, pictureInputOf(manifest, name), signal)]);
  };
  for (const name of ['text-classification', 'audio-classification', 'tabular-classification', 'tabular-regression'] as const)
    addTask(app, context, name, json(name), answerHere);
  const [ofText, ofPicture] = [json('embeddings'), picture('embeddings')];
  const ofEither: EncodeBody = (request, handle, task, signal) => {
    return (takesPicture(handle.manifest, 'embeddings') ? ofPicture : ofText)(request, handle, task, signal);
  };
  addTask(app, context, 'embeddings', ofEither, answerHere);
  const answerInThread = answerPicture(context, sentVersion);
  for (const name of ['object-detection', 'image-segmentation', 'image-to-image'] as const)
    addTask(app, context, name, picture(name), (ran) => answerInThread(name, ran));
}

/** A task whose body is read as the input of its own kind. */
type AnyTask = OpenedTask<unknown, TaskCall['options'], unknown>;

type EncodeBody = (request: FastifyRequest, handle: ServableHandle, task: AnyTask, signal: AbortSignal) => Promise<EncodedBatch>;

function answerHere({ outputs, batch, options, handle }: RanTask, { decode }: AnyTask): object {
  const [output] = decode(outputs, batch, options);
  return { ...aboutVersion(handle), output: output instanceof Float32Array ? Array.from(output) : output };
}

function addTask(
  app: FastifyInstance,
  context: RestContext,
  name: TaskCall['task'],
  encodeBody: EncodeBody,
  answer: (ran: RanTask, task: AnyTask) => object | Promise<object>,
): void {
  const openOnce = onceByVersion(context, async (source) => (await openTask(name, source)) as unknown as AnyTask);
  addTaskRoute(app, name, async (request, reply, { spec, options }) =>
    answerRest(
      context,
      request,
      reply,
      { spec, api: name },
      {
        decode: async (handle, { signal }) => {
          const task = await openOnce(handle);
          const batch = await encodeBody(request, handle, task, signal);
          const { signature, outputs } = task;
          return { task, batch, signal, run: checkPredictRequest(handle.manifest, { signature, inputs: batch.tensors, outputs }) };
        },
        encode: (outputs, { task, batch, signal }, handle) => answer({ outputs, batch, options, handle, request, reply, signal }, task),
      },
    ),
  );
}
