import type { FastifyReply } from 'fastify';
import { encodeStatusJson, NearfarError } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { sendJson } from './send-json.ts';

/** TensorFlow Serving's status of a model; like theirs it ignores a label and then tells of all versions. */
export function status({ servables }: RestContext, reply: FastifyReply, { name, version }: ServableSpec): void {
  if (name === '') throw new NearfarError('invalid-argument', 'Missing model name in request.');
  sendJson(reply, encodeStatusJson(servables.status({ name, version })));
}
