import type { FastifyInstance, FastifyRequest } from 'fastify';
import * as v from 'valibot';
import { NearfarError } from '../../../core/index.ts';
import { assertMayChange } from '../admin.ts';
import type { RestContext } from '../context.ts';
import { callerOf } from './headers.ts';
import { bodyJson, observeRest } from './rest-call.ts';

/**
 * Looks for changes now: who publishes, or the store itself, says that something is new. The body may be the event that a bucket sends, of
 * which the models are looked at that its keys lie in.
 */
export function addRefresh(app: FastifyInstance, context: RestContext): void {
  const { models } = context.admin;
  app.register(async (routes) => {
    routes.addHook('onRequest', async (request) => {
      assertMayChange(context.admin, callerOf(request));
    });
    routes.post('/nearfar/v1/refresh', (request) =>
      observeRest(context, request, { model: '', api: 'configure' }, async () => {
        const locations = locationsOf(request);
        if (!locations) {
          await models.refresh();
          return { stores: models.storeStatuses() };
        }
        const names = [...new Set(locations.flatMap((location) => models.namesAt(location)))];
        // A key in the root may lie in a folder that holds no model.
        await Promise.all(names.map((name) => models.refresh(name).catch(ignoreNotFound)));
        return { models: names, stores: names.flatMap((name) => models.storeStatus(name) ?? []) };
      }),
    );
    routes.post<{ Params: { readonly model: string } }>('/nearfar/v1/models/:model/refresh', (request) =>
      observeRest(context, request, { model: request.params.model, api: 'configure' }, async () => {
        const { model } = request.params;
        await models.refresh(model);
        return { model, store: models.storeStatus(model) };
      }),
    );
  });
}

function ignoreNotFound(error: unknown): void {
  if (!(error instanceof NearfarError && error.code === 'not-found')) throw error;
}

/** Amazon S3, MinIO, Cloudflare R2, Ceph. */
const s3Event = v.object({
  Records: v.array(v.object({ s3: v.object({ bucket: v.object({ name: v.string() }), object: v.object({ key: v.string() }) }) })),
});
/** Amazon SNS around it. */
const snsEnvelope = v.object({ Type: v.literal('Notification'), Message: v.string() });
const eventBridge = v.object({ detail: v.object({ bucket: v.object({ name: v.string() }), object: v.object({ key: v.string() }) }) });
/** Google Cloud Storage by Pub/Sub. */
const pubSub = v.object({ message: v.object({ attributes: v.object({ bucketId: v.string(), objectId: v.string() }) }) });

/** What changed, by the event that is the body; undefined where there is none: it may be anything. */
function locationsOf(request: FastifyRequest): readonly string[] | undefined {
  const { body } = request;
  if (!(body instanceof Uint8Array) || body.byteLength === 0) return undefined;
  let json: unknown = bodyJson(request);
  if (typeof json === 'object' && json !== null && Object.keys(json).length === 0) return undefined;
  const wrapped = v.safeParse(snsEnvelope, json);
  if (wrapped.success) json = parseJson(wrapped.output.Message);
  const s3 = v.safeParse(s3Event, json);
  // Keys in these events are written as in a form.
  if (s3.success) return s3.output.Records.map(({ s3: { bucket, object } }) => `s3://${bucket.name}/${decodeKey(object.key)}`);
  const bridge = v.safeParse(eventBridge, json);
  if (bridge.success) return [`s3://${bridge.output.detail.bucket.name}/${bridge.output.detail.object.key}`];
  const google = v.safeParse(pubSub, json);
  if (google.success) {
    const { bucketId, objectId } = google.output.message.attributes;
    return [`gs://${bucketId}/${objectId}`];
  }
  throw new NearfarError('invalid-argument', 'expected no body, {} or an event of S3, MinIO, EventBridge, SNS or Google Pub/Sub');
}

function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '));
  } catch {
    return key;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
