import * as v from 'valibot';
import {
  assertFiniteInput,
  inferenceHeaderLengthName,
  NearfarError,
  type PreparedPicture,
  type ServerAnswer,
  type ServerTarget,
  type TaskAnswer,
  type TaskCall,
  takesPicture,
} from '../../core/index.ts';
import { askServers, type RemoteOptions, type ServerReply, type ServerRequest } from './ask-server.ts';
import { classesSchema, type Deadline, describe, modelPath, readable, timingOf } from './server-leg.ts';

// Loaded by the first call of such a task.

/** Answers a task on a server: a picture goes as the pixels that the model sees, anything else as JSON. */
export async function runTaskOnServer(
  target: ServerTarget,
  { task, input, options: asked, deadlineMs }: TaskCall & Deadline,
  options: RemoteOptions,
): Promise<ServerAnswer<TaskAnswer>> {
  const { headers, body } = takesPicture(target.manifest, task) ? pictureBody(input as PreparedPicture) : jsonBody(input);
  const query = new URLSearchParams(Object.entries(asked).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])));
  const path = `${modelPath('nearfar/v1', target)}/tasks/${task}?${query}`;
  const reply = await askServers(target.servers, target.pin, { path, headers, body, deadlineMs, policy: target.policy }, options);
  return describe(target, reply, { output: readable(() => readOutput(task, reply)), timing: timingOf(reply) });
}

type Sent = Required<Pick<ServerRequest, 'headers' | 'body'>>;

/** The answer may be a picture, too: its pixels come as they are. */
function pictureBody({ image, picture }: PreparedPicture): Sent {
  return {
    headers: {
      'content-type': 'application/octet-stream',
      'nearfar-image-shape': `${image.height},${image.width},3`,
      'nearfar-picture-size': `${picture.height},${picture.width}`,
      accept: 'application/octet-stream',
    },
    body: image.data,
  };
}

function jsonBody(input: unknown): Sent {
  assertFiniteInput(input);
  const json = JSON.stringify(input, (_, value) => (ArrayBuffer.isView(value) ? [...samples(value)] : value));
  return { headers: { 'content-type': 'application/json' }, body: new TextEncoder().encode(json) };
}

/** The numbers of a sound's channel. */
function samples(view: ArrayBufferView): Iterable<number> {
  if (view instanceof Float32Array || view instanceof Float64Array) return view;
  throw new NearfarError('invalid-argument', 'the samples of a sound are a Float32Array or a Float64Array');
}

const sides = { width: v.number(), height: v.number() };
const boxSchema = v.object({ xmin: v.number(), ymin: v.number(), xmax: v.number(), ymax: v.number() });
const segmentSchema = v.object({ label: v.string(), index: v.number(), pixels: v.number() });
const outputSchemas = {
  'object-detection': v.array(v.object({ label: v.string(), index: v.number(), score: v.number(), box: boxSchema })),
  'image-segmentation': v.object({ mask: v.object({ ...sides, bits: v.picklist([8, 16]) }), segments: v.array(segmentSchema) }),
  'image-to-image': v.object(sides),
  'text-classification': classesSchema,
  'audio-classification': classesSchema,
  'tabular-classification': classesSchema,
  'tabular-regression': v.array(v.number()),
  embeddings: v.array(v.number()),
} satisfies Record<TaskCall['task'], v.GenericSchema>;

function readOutput(task: TaskCall['task'], { body, headers }: ServerReply): TaskAnswer['output'] {
  const jsonBytes = Number(headers.get(inferenceHeaderLengthName) ?? body.length);
  const { output } = v.parse(v.object({ output: v.unknown() }), JSON.parse(new TextDecoder().decode(body.subarray(0, jsonBytes))));
  // A copy: the numbers of a mask begin where they may lie, and the JSON need not be kept.
  const bytes = body.slice(jsonBytes);
  switch (task) {
    case 'embeddings':
      return Float32Array.from(v.parse(outputSchemas[task], output));
    case 'image-to-image': {
      const image = v.parse(outputSchemas[task], output);
      assertLength(bytes, image.width * image.height * 3);
      return { ...image, data: bytes };
    }
    case 'image-segmentation': {
      const { mask, segments } = v.parse(outputSchemas[task], output);
      const { width, height, bits } = mask;
      assertLength(bytes, (width * height * bits) / 8);
      return { mask: { width, height, data: bits === 8 ? bytes : new Uint16Array(bytes.buffer) }, segments };
    }
    default:
      return v.parse(outputSchemas[task], output);
  }
}

function assertLength({ length }: Uint8Array, want: number): void {
  if (length !== want) throw new NearfarError('internal', `expected ${want} bytes behind the JSON, got ${length}`);
}
