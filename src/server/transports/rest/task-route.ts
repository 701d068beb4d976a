import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type EncodedBatch, NearfarError, type TaskCall, type TaskName, type TensorMap } from '../../../core/index.ts';
import type { ServableHandle, ServableSpec } from '../../servables/index.ts';
import { canonicalVersion } from '../model-spec.ts';

interface TaskRoute {
  Params: { readonly model: string; readonly version?: string; readonly label?: string };
  Querystring: { readonly topK?: string; readonly threshold?: string; readonly maxDetections?: string };
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

const defaultTopK = 5;

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
      const { topK, threshold, maxDetections } = request.query;
      const options = {
        topK: parseCount('topK', topK) ?? defaultTopK,
        threshold: parseNumber('threshold', threshold),
        maxDetections: parseCount('maxDetections', maxDetections),
      };
      return answer(request, reply, { spec, options });
    });
  }
}

function parseCount(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new NearfarError('invalid-argument', `${name} is a whole number of at least 1, got ${text}`);
}

function parseNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (text.trim() !== '' && Number.isFinite(number)) return number;
  throw new NearfarError('invalid-argument', `${name} is a number, got ${text}`);
}
