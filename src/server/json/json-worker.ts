import { type PackedAnswer, serveCalls } from '../call-worker.ts';
import { packTensors } from '../transfer.ts';
import { type JsonJobKind, type JsonJobs, jsonJobs } from './json-jobs.ts';

/** What the JSON worker is asked. */
export type JsonJob<K extends JsonJobKind = JsonJobKind> = {
  [P in K]: {
    readonly kind: P;
    readonly request: JsonJobs[P]['request'];
    /** Whether the memory of the body goes back with the answer. */
    readonly isLent: boolean;
  };
}[K];

type JsonAnswer = JsonJobs[JsonJobKind]['answer'];

export interface JsonReply {
  readonly answer: JsonAnswer;
  readonly lent?: ArrayBuffer;
}

serveCalls<JsonJob, JsonReply>(async (job) => {
  const { answer, transfer } = pack(await run(job));
  const lent = job.isLent && 'body' in job.request ? job.request.body.buffer : undefined;
  if (!(lent instanceof ArrayBuffer)) return { answer: { answer }, transfer };
  return { answer: { answer, lent }, transfer: [...transfer, lent] };
});

function run<K extends JsonJobKind>({ kind, request }: JsonJob<K>): JsonAnswer | Promise<JsonAnswer> {
  return jsonJobs[kind](request);
}

function pack(answer: JsonAnswer): PackedAnswer<JsonAnswer> {
  if ('body' in answer) return { answer, transfer: [answer.body.buffer] };
  if ('examples' in answer) return { answer, transfer: [] };
  const { tensors, transfer } = packTensors(answer.inputs);
  return { answer: { ...answer, inputs: tensors }, transfer };
}
