import * as v from 'valibot';
import { assertFiniteInput, NearfarError, type ServerAnswer, type ServerTarget, type TaskAnswer, type TaskCall } from '../../core/index.ts';
import { askServers, type RemoteOptions, type ServerReply } from './ask-server.ts';
import { classesSchema, type Deadline, describe, modelPath, readable, timingOf } from './server-leg.ts';

// Loaded by the first call of such a task.

/** Answers a task of a text, a sound or a row on a server, as JSON. */
export async function runTaskOnServer(
  target: ServerTarget,
  { task, input, topK, deadlineMs }: TaskCall & Deadline,
  options: RemoteOptions,
): Promise<ServerAnswer<TaskAnswer>> {
  assertFiniteInput(input);
  const path = `${modelPath('nearfar/v1', target)}/tasks/${task}?topK=${topK}`;
  const headers = { 'content-type': 'application/json' };
  const body = new TextEncoder().encode(JSON.stringify(input, (_, value) => (ArrayBuffer.isView(value) ? [...samples(value)] : value)));
  const reply = await askServers(target.servers, target.pin, { path, headers, body, deadlineMs, policy: target.policy }, options);
  const output = readOutput(reply);
  return describe(target, reply, { output: task === 'embeddings' ? Float32Array.from(output, Number) : output, timing: timingOf(reply) });
}

const outputSchema = v.object({ output: v.union([v.array(v.number()), classesSchema]) });

function readOutput({ body }: ServerReply): v.InferOutput<typeof outputSchema>['output'] {
  return readable(() => v.parse(outputSchema, JSON.parse(new TextDecoder().decode(body))).output);
}

/** The numbers of a sound's channel. */
function samples(view: ArrayBufferView): Iterable<number> {
  if (view instanceof Float32Array || view instanceof Float64Array) return view;
  throw new NearfarError('invalid-argument', 'the samples of a sound are a Float32Array or a Float64Array');
}
