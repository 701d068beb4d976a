import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { imageClassification, NearfarError, taskOf } from '../../../core/index.ts';
import type { RestContext } from '../context.ts';
import { checkPredictRequest } from '../predict-request.ts';
import { readPicture } from './read-picture.ts';
import { answerRest } from './rest-call.ts';
import { type AskedTask, aboutVersion, addTaskRoute } from './task-route.ts';

/** `POST /nearfar/v1/models/{m}[/versions/{n}|/labels/{l}]/tasks/image-classification?topK=5`, the body being a picture. */
export function addImageClassification(app: FastifyInstance, context: RestContext): void {
  addTaskRoute(app, imageClassification.name, (request, reply, asked) => classify(context, request, reply, asked));
}

async function classify(
  context: RestContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { spec, options: { topK } }: AskedTask,
): Promise<object> {
  return answerRest(
    context,
    request,
    reply,
    { spec, api: imageClassification.name },
    {
      decode: async (handle, { signal }) => {
        const task = taskOf(handle.manifest, imageClassification.name);
        const { image } = await readPicture(context, request, task.input, signal);
        const inputs = { [task.input.name]: imageClassification.encodeImages([image], task.input) };
        const run = checkPredictRequest(handle.manifest, { signature: task.signature, inputs, outputs: [task.output.name] });
        return { task, run, labels: await context.classLabels(handle, task.output.labels) };
      },
      encode: (outputs, { task, labels: classNames }, handle) => {
        const output = outputs[task.output.name];
        if (!output) throw new NearfarError('internal', `${handle.name} version ${handle.version} gave no output ${task.output.name}`);
        const { activation, name: outputName } = task.output;
        const [predictions] = imageClassification.decodeClassification(output, {
          activation,
          labels: classNames,
          topK,
          output: outputName,
        });
        return { ...aboutVersion(handle), predictions };
      },
    },
  );
}
