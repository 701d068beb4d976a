import { type PackedAnswer, serveCalls } from '../call-worker.ts';
import { packTensors } from '../transfer.ts';
import { type JsonJobKind, type JsonJobs, jsonJobs } from './json-jobs.ts';

/** What the JSON worker is asked. */
export type JsonJob<K extends JsonJobKind = JsonJobKind> = { [P in K]: { readonly kind: P; readonly request: JsonJobs[P]['request'] } }[K];

export type JsonAnswer = JsonJobs[JsonJobKind]['answer'];

serveCalls<JsonJob, JsonAnswer>((job) => pack(run(job)));

function run<K extends JsonJobKind>({ kind, request }: JsonJob<K>): JsonJobs[K]['answer'] {
  return jsonJobs[kind](request);
}

function pack(answer: JsonAnswer): PackedAnswer<JsonAnswer> {
  if ('body' in answer) return { answer, transfer: [answer.body.buffer] };
  if ('examples' in answer) return { answer, transfer: [] };
  const { tensors, transfer } = packTensors(answer.inputs);
  return { answer: { ...answer, inputs: tensors }, transfer };
}
