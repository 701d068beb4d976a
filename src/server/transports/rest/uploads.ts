import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import * as v from 'valibot';
import { digestSchema, NearfarError } from '../../../core/index.ts';
import { actorOf } from '../admin.ts';
import type { RestContext } from '../context.ts';
import { callerOf, headerText } from './headers.ts';
import { bodyJson, observeRest } from './rest-call.ts';

const uploadsPath = '/nearfar/v1/models/:model/uploads';
const uploadPath = `${uploadsPath}/:upload`;

interface Path {
  readonly Params: { readonly model: string; readonly upload: string; readonly '*': string };
}

const announcementSchema = v.object({
  version: v.optional(v.union([v.string(), v.pipe(v.number(), v.safeInteger(), v.transform(String))])),
  labels: v.optional(v.array(v.string()), []),
  files: v.pipe(
    v.array(v.object({ path: v.string(), bytes: v.pipe(v.number(), v.safeInteger(), v.minValue(0)), digest: digestSchema })),
    v.minLength(1, 'expected one file at least'),
  ),
});

/** Versions that come file by file: announced, sent in parts that may break off anywhere, and then published in one step. */
export function addUploads(app: FastifyInstance, context: RestContext): void {
  const { uploads } = context;
  if (!uploads) return;
  const observe = <T>(request: FastifyRequest<{ Params: { readonly model: string } }>, work: () => Promise<T>) =>
    observeRest(context, request, { model: request.params.model, api: 'upload' }, work);

  app.post<Path>(uploadsPath, (request) => observe(request, async () => uploads.begin(request.params.model, announcementOf(request))));
  app.get<Path>(uploadsPath, async ({ params }) => ({ uploads: await uploads.list(params.model) }));
  app.get<Path>(uploadPath, async ({ params }) => uploads.find(params.model, params.upload));
  app.post<Path>(`${uploadPath}/complete`, (request) =>
    observe(request, () => uploads.complete(request.params.model, request.params.upload, actorOf(callerOf(request), 'REST'))),
  );
  app.delete<Path>(uploadPath, async (request, reply) => {
    await observe(request, () => uploads.giveUp(request.params.model, request.params.upload));
    return reply.code(204).send();
  });
  app.get<Path>(`${uploadPath}/files/*`, async ({ params }, reply) => {
    const progress = await uploads.progress(params.model, params.upload, params['*']);
    reply.header('upload-offset', progress.offset).header('upload-length', progress.bytes).header('cache-control', 'no-store');
    return progress;
  });

  // Their bodies are files, which go to the disk as they come.
  app.register(async (routes) => {
    routes.removeAllContentTypeParsers();
    routes.addContentTypeParser('*', (_, payload, done) => done(null, payload));
    routes.put<Path & { Body: Readable | undefined }>(`${uploadPath}/files/*`, (request) =>
      observe(request, async () => {
        const { model, upload, '*': path } = request.params;
        const { bytes } = await uploads.progress(model, upload, path);
        const start = startOf(headerText(request, 'content-range'), bytes);
        return await uploads.write(model, upload, path, { start, body: request.body ?? nothing() });
      }),
    );
  });
}

function announcementOf(request: FastifyRequest) {
  const parsed = v.safeParse(announcementSchema, bodyJson(request));
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new NearfarError(
    'invalid-argument',
    `the announcement of an upload is not valid at ${v.getDotPath(issue) ?? '(root)'}: ${issue.message}`,
  );
}

/** Where a part begins (RFC 9110, 14.4); undefined for a whole file. */
function startOf(range: string | undefined, bytes: number): number | undefined {
  if (range === undefined) return undefined;
  const [, first, last, total] = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(range) ?? [];
  const isRange = Number(first) <= Number(last) && Number(last) < bytes && (total === '*' || Number(total) === bytes);
  if (isRange) return Number(first);
  throw new NearfarError('invalid-argument', `expected content-range such as "bytes 0-${Math.max(bytes - 1, 0)}/${bytes}", got ${range}`, {
    details: { bytes, got: range },
  });
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
