import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import * as v from 'valibot';
import { type EncodedBatch, NearfarError, type TaskCall, type TaskName, type TensorMap } from '../../../core/index.ts';
import type { ServableHandle, ServableSpec } from '../../servables/index.ts';
import { canonicalVersion } from '../model-spec.ts';
import { parseQuery } from './query.ts';

interface TaskRoute {
  Params: { readonly model: string; readonly version?: string; readonly label?: string };
}

/** What a request for a task asks, beside its input. */
export interface AskedTask {
  readonly spec: ServableSpec;
  readonly options: TaskCall['options'];
}

/** A run that ended, and all that its answer is made of. */
export interface RanTask {
  readonly outputs: TensorMap;
  readonly batch: EncodedBatch;
  readonly options: TaskCall['options'];
  readonly handle: ServableHandle;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly signal: AbortSignal;
}

type AnswerTask = (request: FastifyRequest, reply: FastifyReply, asked: AskedTask) => Promise<object>;

const count = v.pipe(v.string(), v.regex(/^[1-9]\d{0,6}$/, 'expected a whole number of at least 1'), v.transform(Number));
const number = v.pipe(
  v.string(),
  v.check((text) => text.trim() !== '' && Number.isFinite(Number(text)), 'expected a number'),
  v.transform(Number),
);
const querySchema = v.object({ topK: v.optional(count, '5'), threshold: v.optional(number), maxDetections: v.optional(count) });

/** What the JSON of an answer says about the version behind it. */
export function aboutVersion({ name, version, digest, backend, variant }: ServableHandle): object {
  return { model_name: name, model_version: version, digest, backend, variant };
}

/** `POST /nearfar/v1/models/{m}[/versions/{n}|/labels/{l}]/tasks/{task}?topK=5&threshold=0.5&maxDetections=100`. */
export function addTaskRoute(app: FastifyInstance, task: TaskName, answer: AnswerTask): void {
  for (const path of ['', '/versions/:version', '/labels/:label']) {
    app.post<TaskRoute>(`/nearfar/v1/models/:model${path}/tasks/${task}`, async (request, reply) => {
      const { model, version, label } = request.params;
      if (version !== undefined && !/^\d+$/.test(version))
        throw new NearfarError('invalid-argument', `Failed to convert version: ${version} to numeric.`);
      const spec = { name: model, version: version === undefined ? undefined : canonicalVersion(version), label };
      return answer(request, reply, { spec, options: parseQuery(querySchema, request.query) });
    });
  }
}
