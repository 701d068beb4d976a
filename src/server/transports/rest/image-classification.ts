import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { imageClassification, NearfarError, type RgbImage, taskOf } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { checkPredictRequest } from '../predict-request.ts';
import { headerText } from './headers.ts';
import { answerRest, bodyBytes } from './rest-call.ts';
import { addTaskRoute } from './task-route.ts';

/**
 * `POST /nearfar/v1/models/{m}[/versions/{n}|/labels/{l}]/tasks/image-classification?topK=5`. The body is a picture (JPEG,
 * PNG, WebP, …), or with the header `nearfar-image-shape: H,W,3` the pixels that remain after resize and crop, uint8 RGB.
 */
export function addImageClassification(app: FastifyInstance, context: RestContext): void {
  addTaskRoute(app, imageClassification.name, (request, reply, asked) => classify(context, request, reply, asked));
}

async function classify(
  context: RestContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { spec, topK }: { spec: ServableSpec; topK: number },
): Promise<object> {
  return answerRest(
    context,
    request,
    reply,
    { spec, api: imageClassification.name },
    {
      decode: async (handle, { signal }) => {
        const task = taskOf(handle.manifest, imageClassification.name);
        const image = readPixels(request) ?? (await context.prepareImage(bodyBytes(request), task.input, { signal }));
        const inputs = { [task.input.name]: imageClassification.encodeImages([image], task.input) };
        const run = checkPredictRequest(handle.manifest, { signature: task.signature, inputs, outputs: [task.output.name] });
        return { task, run, labels: await context.classLabels(handle, task.output.labels) };
      },
      encode: (outputs, { task, labels: classNames }, { name, version, digest, backend, variant }) => {
        const output = outputs[task.output.name];
        if (!output) throw new NearfarError('internal', `${name} version ${version} gave no output ${task.output.name}`);
        const { activation, name: outputName } = task.output;
        const [predictions] = imageClassification.decodeClassification(output, {
          activation,
          labels: classNames,
          topK,
          output: outputName,
        });
        return { model_name: name, model_version: version, digest, backend, variant, predictions };
      },
    },
  );
}

/** The pixels of a body that is no encoded picture. */
function readPixels(request: FastifyRequest): RgbImage | undefined {
  const shape = headerText(request, 'nearfar-image-shape');
  if (shape === undefined) return undefined;
  const [, height, width] = /^\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*3\s*$/.exec(shape) ?? [];
  if (height === undefined || width === undefined) {
    throw new NearfarError('invalid-argument', `nearfar-image-shape is height,width,3, got ${shape}`);
  }
  return { height: Number(height), width: Number(width), data: new Uint8Array(bodyBytes(request)) };
}
