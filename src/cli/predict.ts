import { readFile, writeFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';

import { type Classification, errorOfResponse, NearfarError, type TaskName, taskNames } from '../core/index.ts';
import { credentials } from './ask-server.ts';
import { runCommand } from './command.ts';
import { parseCount, parseModelChoice, parseNumber } from './parse-option.ts';
import { pictureOf, printClasses, printOutput } from './print-answer.ts';

interface PredictFlags {
  readonly image?: string;
  readonly text?: string;
  readonly input?: string;
  readonly task?: TaskName;
  readonly server: string;
  readonly topK: number;
  readonly threshold?: number;
  readonly maxDetections?: number;
  readonly out?: string;
  readonly json?: boolean;
}

/** The version that answered. */
interface AboutVersion {
  readonly model_name: string;
  readonly model_version: string;
  readonly digest: string;
  readonly backend: string;
}

/** What the server says of a photo. */
export interface PhotoAnswer extends AboutVersion {
  readonly variant: string;
  readonly predictions: readonly Classification[];
}

/** What it says to any other task, and what `:predict` answers. */
type Answer =
  | PhotoAnswer
  | (AboutVersion & { readonly output: unknown })
  | { readonly outputs: unknown }
  | { readonly predictions: unknown };

export function addPredict(program: Command): void {
  program
    .command('predict')
    .description('ask a running server for a prediction')
    .argument('<model>', 'a name, name@version or name@label')
    .option('--image <file>', 'a JPEG, PNG, GIF, WebP or AVIF file')
    .option('--text <text>', 'a text')
    .option(
      '--input <json>',
      'the input of --task as JSON, a row or a sound; without --task what :predict takes, {"inputs": …} or {"instances": […]}; @FILE reads a file',
    )
    .addOption(
      new Option('--task <name>', 'by default image-classification of a picture, text-classification of a text').choices(taskNames),
    )
    .option('--url, --server <url>', 'address of the server', 'http://localhost:8501')
    .option('--top-k <count>', 'how many classes to show', parseCount, 5)
    .option('--threshold <score>', 'least score of an object', parseNumber)
    .option('--max-detections <count>', 'how many objects to show', parseCount)
    .option('--out <file>', 'keep the picture or the mask of the answer as PNG')
    .option('--json', 'print the result as JSON')
    .action((model: string, flags: PredictFlags) => runCommand(flags, ({ signal }) => predict(model, flags, signal), printAnswer));
}

async function predict(model: string, flags: PredictFlags, signal: AbortSignal): Promise<Answer> {
  const { name, version, label } = parseModelChoice(model);
  const choice = version ? `/versions/${version}` : label ? `/labels/${encodeURIComponent(label)}` : '';
  const { task, body, type } = await readInput(flags);
  const path = `${encodeURIComponent(name)}${choice}`;
  const answer: Answer =
    task === undefined
      ? await post(flags.server, `v1/models/${path}:predict`, { body, type, signal })
      : await post(flags.server, `nearfar/v1/models/${path}/tasks/${task}?${queryOf(flags)}`, { body, type, signal });
  if (flags.out !== undefined) await keepPicture(flags.out, answer);
  return answer;
}

interface Input {
  /** None for `:predict`. */
  readonly task: TaskName | undefined;
  readonly body: Uint8Array<ArrayBuffer> | string;
  readonly type: string;
}

async function readInput({ image, text, input, task }: PredictFlags): Promise<Input> {
  const given = [image, text, input].filter((each) => each !== undefined);
  if (given.length !== 1) {
    const came = given.length === 0 ? 'none of them' : `${given.length} of them`;
    throw new NearfarError('invalid-argument', `expected one of --image, --text and --input, got ${came}`);
  }
  if (image !== undefined) return { task: task ?? 'image-classification', body: await readInputFile(image), type: 'image/*' };
  const type = 'application/json';
  if (text !== undefined) return { task: task ?? 'text-classification', body: JSON.stringify(text), type };
  return { task, body: input?.startsWith('@') ? await readInputFile(input.slice(1)) : (input ?? ''), type };
}

async function readInputFile(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    throw new NearfarError('not-found', `${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function queryOf({ topK, threshold, maxDetections }: PredictFlags): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ topK, threshold, maxDetections })) if (value !== undefined) query.set(name, String(value));
  return query;
}

async function keepPicture(path: string, answer: Answer): Promise<void> {
  const picture = 'output' in answer ? pictureOf(answer.output) : undefined;
  if (!picture) throw new NearfarError('invalid-argument', '--out keeps a picture or a mask, and the answer has none');
  await writeFile(path, picture);
}

/**
 * Sends an encoded picture to the server as it is.
 * @param model The part of the route after `/models/`.
 * @throws {NearfarError} `network` when no server answers; else what the server says.
 */
export async function classifyPhoto(
  server: string,
  model: string,
  picture: Uint8Array<ArrayBuffer>,
  { topK, signal }: { topK: number; signal: AbortSignal },
): Promise<PhotoAnswer> {
  return await post(server, `nearfar/v1/models/${model}/tasks/image-classification?topK=${topK}`, {
    body: picture,
    type: 'image/*',
    signal,
  });
}

async function post<Got extends Answer>(
  server: string,
  path: string,
  { body, type, signal }: Pick<Input, 'body' | 'type'> & { readonly signal: AbortSignal },
): Promise<Got> {
  const request = { method: 'POST', body, headers: { 'content-type': type, ...credentials() }, signal };
  const response = await fetch(`${server.replace(/\/+$/, '')}/${path}`, request).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new NearfarError('network', `no server answers at ${server}`, { cause, details: { server } });
  });
  const text = await response.text();
  if (!response.ok) throw errorOfResponse(response.status, text);
  const answer: Got = JSON.parse(text);
  return answer;
}

/** The answer as lines for a terminal. */
export function printAnswer(answer: Answer): string {
  if (!('model_name' in answer)) return JSON.stringify(answer, null, 2);
  const { model_name, model_version, digest, backend } = answer;
  const found = 'predictions' in answer ? printClasses(answer.predictions) : printOutput(answer.output);
  return `${found}\n  ${model_name} version ${model_version}, ${backend}, ${digest}`;
}
