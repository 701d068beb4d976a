import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { FastifyRequest } from 'fastify';
import { inferenceHeaderLengthName, NearfarError } from '../../../core/index.ts';
import type { AnsweredTask, PictureForm } from '../../media/index.ts';
import type { RestContext } from '../context.ts';
import { headerText } from './headers.ts';
import type { sentVersions } from './sent-version.ts';
import { aboutVersion, type RanTask } from './task-route.ts';

const compress = promisify(gzip);

/**
 * Answers with what is laid over a picture, or with another picture, made off the event loop. By the `accept` header it is JSON, a picture
 * in it as PNG; `image/png` the picture alone; or `application/octet-stream` JSON as long as `inference-header-content-length` says, and
 * behind it the pixels.
 */
export function answerPicture(
  context: RestContext,
  sentVersion: ReturnType<typeof sentVersions>,
): (task: AnsweredTask, ran: RanTask) => Promise<object> {
  return async (task, { outputs, batch, options, handle, request, reply, signal }) => {
    const form = pictureFormOf(request);
    const [picture] = batch.pictures ?? [];
    if (!picture) throw new NearfarError('internal', `the batch of ${task} has no picture`);
    const job = { task, version: await sentVersion(handle), outputs, picture, options, form };
    const { output, bytes } = await context.answerPicture(job, { signal });
    if (!bytes) return { ...aboutVersion(handle), output };
    if (form === 'png') {
      reply.type('image/png');
      return bytes;
    }
    const json = new TextEncoder().encode(JSON.stringify({ ...aboutVersion(handle), output }));
    reply.header(inferenceHeaderLengthName, json.length);
    reply.type('application/octet-stream');
    const body = Buffer.concat([json, bytes]);
    // Masks shrink to a few hundredths, pictures hardly.
    if (task !== 'image-segmentation' || !/\bgzip\b/.test(headerText(request, 'accept-encoding') ?? '')) return body;
    reply.header('content-encoding', 'gzip');
    return compress(body, { level: 1 });
  };
}

function pictureFormOf(request: FastifyRequest): PictureForm {
  const accepted = headerText(request, 'accept') ?? '';
  if (accepted.includes('image/png')) return 'png';
  return accepted.includes('application/octet-stream') ? 'pixels' : 'json';
}
