import type { FastifyReply, FastifyRequest } from 'fastify';
import { encodeMetadataJson, signatureDefMap } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { setVersionHeaders, wantedDigest } from './headers.ts';
import { sendJson } from './send-json.ts';

/** TensorFlow Serving's `…/metadata`: the signatures of a version. */
export function metadata({ servables }: RestContext, request: FastifyRequest, reply: FastifyReply, spec: ServableSpec): void {
  using handle = servables.lend({ ...spec, digest: wantedDigest(request) });
  setVersionHeaders(reply, handle);
  sendJson(reply, encodeMetadataJson(handle, signatureDefMap(handle.manifest, handle.variant)));
}
