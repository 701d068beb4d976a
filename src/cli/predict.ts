import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type Classification, errorOfResponse, NearfarError } from '../core/index.ts';
import { runCommand } from './command.ts';
import { parseCount, parseModelChoice } from './parse-option.ts';

interface PredictFlags {
  readonly image: string;
  readonly server: string;
  readonly topK: number;
  readonly json?: boolean;
}

/** What the server says of a photo. */
export interface PhotoAnswer {
  readonly model_name: string;
  readonly model_version: string;
  readonly digest: string;
  readonly backend: string;
  readonly variant: string;
  readonly predictions: readonly Classification[];
}

export function addPredict(program: Command): void {
  program
    .command('predict')
    .description('ask a running server to classify a picture')
    .argument('<model>', 'a name, name@version or name@label')
    .requiredOption('--image <file>', 'a JPEG, PNG, GIF, WebP or AVIF file')
    .option('--url, --server <url>', 'address of the server', 'http://localhost:8501')
    .option('--top-k <count>', 'how many classes to show', parseCount, 5)
    .option('--json', 'print the result as JSON')
    .action((model: string, flags: PredictFlags) => runCommand(flags, ({ signal }) => predictFile(model, flags, signal), printAnswer));
}

async function predictFile(model: string, { image, server, topK }: PredictFlags, signal: AbortSignal): Promise<PhotoAnswer> {
  const { name, version, label } = parseModelChoice(model);
  const choice = version ? `/versions/${version}` : label ? `/labels/${encodeURIComponent(label)}` : '';
  return await classifyPhoto(server, `${encodeURIComponent(name)}${choice}`, await readPicture(image), { topK, signal });
}

async function readPicture(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    throw new NearfarError('not-found', `${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
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
  const url = `${server.replace(/\/+$/, '')}/nearfar/v1/models/${model}/tasks/image-classification?topK=${topK}`;
  const request = { method: 'POST', body: picture, headers: { 'content-type': 'image/*' }, signal };
  const response = await fetch(url, request).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new NearfarError('network', `no server answers at ${server}`, { cause, details: { server } });
  });
  return await readAnswer(response);
}

async function readAnswer(response: Response): Promise<PhotoAnswer> {
  const text = await response.text();
  if (!response.ok) throw errorOfResponse(response.status, text);
  const answer: PhotoAnswer = JSON.parse(text);
  return answer;
}

export function printAnswer({ model_name, model_version, digest, backend, predictions }: PhotoAnswer): string {
  const width = Math.max(...predictions.map(({ label }) => label.length));
  return [
    ...predictions.map(({ label, score }) => `  ${label.padEnd(width)}  ${(score * 100).toFixed(1).padStart(5)} %  ${bar(score)}`),
    `  ${model_name} version ${model_version}, ${backend}, ${digest}`,
  ].join('\n');
}

/** A task without activation may score by logits, which are no shares of 1. */
function bar(score: number): string {
  return '█'.repeat(Math.round(Math.min(Math.max(score, 0), 1) * 30));
}
