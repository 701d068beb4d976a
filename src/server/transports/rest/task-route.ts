import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { NearfarError, type TaskName } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import { canonicalVersion } from '../model-spec.ts';

interface TaskRoute {
  Params: { readonly model: string; readonly version?: string; readonly label?: string };
  Querystring: { readonly topK?: string };
}

type AnswerTask = (
  request: FastifyRequest,
  reply: FastifyReply,
  asked: { readonly spec: ServableSpec; readonly topK: number },
) => Promise<object>;

const defaultTopK = 5;

/** `POST /nearfar/v1/models/{m}[/versions/{n}|/labels/{l}]/tasks/{task}?topK=5`. */
export function addTaskRoute(app: FastifyInstance, task: TaskName, answer: AnswerTask): void {
  for (const path of ['', '/versions/:version', '/labels/:label']) {
    app.post<TaskRoute>(`/nearfar/v1/models/:model${path}/tasks/${task}`, async (request, reply) => {
      const { model, version, label } = request.params;
      if (version !== undefined && !/^\d+$/.test(version))
        throw new NearfarError('invalid-argument', `Failed to convert version: ${version} to numeric.`);
      const spec = { name: model, version: version === undefined ? undefined : canonicalVersion(version), label };
      return answer(request, reply, { spec, topK: parseTopK(request.query.topK) });
    });
  }
}

function parseTopK(text: string | undefined): number {
  if (text === undefined) return defaultTopK;
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new NearfarError('invalid-argument', `topK is a whole number of at least 1, got ${text}`);
}
