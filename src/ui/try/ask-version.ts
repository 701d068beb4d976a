import {
  type AnyTensor,
  type Detection,
  decodeInferResponse,
  encodeInferRequest,
  inferenceHeaderLengthName,
  type TaskName,
  type TensorMap,
} from '../../core/index.ts';
import { askServer, pathOf } from '../api/index.ts';

/** What a form holds when it can be sent. */
export type Question =
  | { readonly kind: 'signature'; readonly signature: string; readonly inputs: TensorMap }
  | { readonly kind: 'task'; readonly task: TaskName; readonly body: Blob };

export interface ClassScore {
  readonly label: string;
  readonly index: number;
  readonly score: number;
}

interface PngPicture {
  readonly width: number;
  readonly height: number;
  /** In base64. */
  readonly png: string;
}

/** What came of it, by how it is drawn. */
export type Outcome =
  | { readonly kind: 'classes'; readonly classes: readonly ClassScore[] }
  | { readonly kind: 'boxes'; readonly found: readonly Detection[] }
  | { readonly kind: 'mask'; readonly mask: PngPicture; readonly segments: readonly { label: string; index: number; pixels: number }[] }
  | { readonly kind: 'picture'; readonly picture: PngPicture }
  | { readonly kind: 'tensors'; readonly tensors: Readonly<Record<string, AnyTensor>> };

/** An answer, and which version gave it in what time. */
export interface VersionAnswer {
  readonly outcome: Outcome;
  readonly version: string;
  readonly digest: string;
  readonly backend: string;
  readonly variant: string;
  readonly totalMs: number;
  /** Milliseconds by phase, as the server says. */
  readonly phases: Readonly<Record<string, number>>;
}

/** More classes than are drawn, so that two versions can be compared. */
const topK = 50;

/**
 * Asks one version.
 * @throws {NearfarError} the server's own.
 */
export async function askVersion(model: string, version: string, question: Question, signal?: AbortSignal): Promise<VersionAnswer> {
  const startedAt = performance.now();
  const response =
    question.kind === 'task' ? await askTask(model, version, question, signal) : await askSignature(model, version, question, signal);
  const { headers } = response;
  const outcome = question.kind === 'task' ? outcomeOfTask(await response.json()) : await tensorsOf(response);
  return {
    outcome,
    totalMs: performance.now() - startedAt,
    version: headers.get('nearfar-model-version') ?? version,
    digest: headers.get('nearfar-model-digest') ?? '',
    backend: headers.get('nearfar-backend') ?? '',
    variant: headers.get('nearfar-variant') ?? '',
    phases: Object.fromEntries(
      [...(headers.get('server-timing') ?? '').matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, ms]) => [name, Number(ms)]),
    ),
  };
}

function askTask(
  model: string,
  version: string,
  { task, body }: Extract<Question, { kind: 'task' }>,
  signal?: AbortSignal,
): Promise<Response> {
  const path = pathOf('nearfar', 'v1', 'models', model, 'versions', version, 'tasks', task);
  return askServer(`${path}?topK=${topK}`, {
    method: 'POST',
    body,
    headers: { 'content-type': body.type || 'application/octet-stream' },
    signal,
  });
}

function askSignature(
  model: string,
  version: string,
  { signature, inputs }: Extract<Question, { kind: 'signature' }>,
  signal?: AbortSignal,
): Promise<Response> {
  const { body, headerLength } = encodeInferRequest({ signature, inputs });
  const headers = {
    'content-type': 'application/octet-stream',
    ...(headerLength !== undefined && { [inferenceHeaderLengthName]: String(headerLength) }),
  };
  return askServer(pathOf('v2', 'models', model, 'versions', version, 'infer'), { method: 'POST', body, headers, signal });
}

async function tensorsOf(response: Response): Promise<Outcome> {
  const length = response.headers.get(inferenceHeaderLengthName);
  const { outputs } = decodeInferResponse(new Uint8Array(await response.arrayBuffer()), length === null ? undefined : Number(length));
  return { kind: 'tensors', tensors: outputs };
}

interface TaskAnswer {
  readonly predictions?: readonly ClassScore[];
  readonly output?: unknown;
}

/** Which kind it is shows in what the answer holds. */
function outcomeOfTask({ predictions, output }: TaskAnswer): Outcome {
  const answer = predictions ?? output;
  if (Array.isArray(answer)) {
    const [first] = answer as readonly unknown[];
    if (isObject(first) && 'box' in first) return { kind: 'boxes', found: answer as Detection[] };
    if (isObject(first) && 'score' in first) return { kind: 'classes', classes: answer as ClassScore[] };
    if (first === undefined) return { kind: 'boxes', found: [] };
    return {
      kind: 'tensors',
      tensors: { output: { dtype: 'float64', shape: [answer.length], data: Float64Array.from(answer as number[]) } },
    };
  }
  if (isObject(answer) && 'mask' in answer)
    return { kind: 'mask', ...(answer as unknown as Omit<Extract<Outcome, { kind: 'mask' }>, 'kind'>) };
  return { kind: 'picture', picture: answer as unknown as PngPicture };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
