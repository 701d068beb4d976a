import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import * as v from 'valibot';
import { NearfarError } from '../core/index.ts';
import { addressOf, askServer, fetchFrom } from './ask-server.ts';
import { runCommand } from './command.ts';
import { historyEntrySchema } from './history.ts';
import { parseCount } from './parse-option.ts';
import { addServerOptions, type ServerFlags } from './server-options.ts';
import { escapeControls } from './table.ts';

const failureSchema = v.looseObject({
  id: v.number(),
  time: v.string(),
  kind: v.string(),
  model: v.string(),
  version: v.optional(v.string()),
  api: v.optional(v.string()),
  code: v.string(),
  message: v.optional(v.string(), ''),
  count: v.optional(v.number(), 1),
});

/** A failure, or a change of the history. */
type Line =
  | ({ readonly event: 'failure' } & v.InferOutput<typeof failureSchema>)
  | ({ readonly event: 'history' } & v.InferOutput<typeof historyEntrySchema>);

interface LogsFlags extends ServerFlags {
  readonly limit: number;
  readonly follow?: boolean;
}

const longestPauseMs = 10_000;

export function addLogs(program: Command): void {
  addServerOptions(program.command('logs [model]').description('show what failed on a running server and what was changed, oldest first'))
    .option('--limit <count>', 'at most so many lines', parseCount, 50)
    .option('--follow', 'go on with what comes, until Ctrl+C; with --json a line of JSON for each')
    .action((model: string | undefined, flags: LogsFlags) =>
      runCommand(
        flags,
        async ({ signal }) => {
          if (!flags.follow) return { lines: await readLines(model, flags, signal) };
          await follow(model, flags, signal);
          return undefined;
        },
        (result) =>
          result && result.lines.length === 0 ? 'nothing failed, and nothing was changed' : result?.lines.map(printLine).join('\n'),
      ),
    );
}

async function readLines(model: string | undefined, { url, limit }: LogsFlags, signal: AbortSignal): Promise<readonly Line[]> {
  const query = new URLSearchParams({ limit: String(Math.min(limit, 1_000)), ...(model !== undefined && { model }) });
  const [{ failures }, { entries }] = await Promise.all([
    askServer({ url, path: `failures?${query}`, answer: v.object({ failures: v.array(failureSchema) }), signal }),
    askServer({ url, path: `history?${query}`, answer: v.object({ entries: v.array(historyEntrySchema) }), signal }),
  ]);
  const lines: Line[] = [
    ...failures.map((failure) => ({ event: 'failure' as const, ...failure })),
    ...entries.map((entry) => ({ event: 'history' as const, ...entry })),
  ];
  return lines.sort((a, b) => (timeOf(a) < timeOf(b) ? -1 : 1)).slice(-limit);
}

/** What is there, and then what comes; over breaks and restarts of the server. */
async function follow(model: string | undefined, flags: LogsFlags, signal: AbortSignal): Promise<void> {
  const write = (line: Line) => void process.stdout.write(`${flags.json ? JSON.stringify(line) : printLine(line)}\n`);
  const known = { failure: 0, history: 0 };
  let lastId: string | undefined;
  let failures = 0;
  try {
    for (;;) {
      try {
        // First: what comes while the rest is read is not missed.
        const events = await openEvents(flags.url, lastId, signal);
        if (lastId === undefined) {
          for (const line of await readLines(model, flags, signal)) {
            known[line.event] = Math.max(known[line.event], line.id);
            write(line);
          }
        }
        failures = 0;
        for await (const { event, id, data } of events) {
          lastId = id;
          const line = toLine(event, data);
          if (!line || line.id <= known[line.event]) continue;
          if (model === undefined || line.model === model) write(line);
        }
      } catch (error) {
        // Refused, and not broken off.
        if (!(error instanceof NearfarError) || (error.code !== 'network' && error.code !== 'unavailable')) throw error;
        // One that never answered is told so at once.
        if (lastId === undefined) throw error;
      }
      await sleep(Math.min(longestPauseMs, 250 * 2 ** failures++), undefined, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function toLine(event: string, data: string): Line | undefined {
  const json: unknown = event === 'failure' || event === 'history' ? JSON.parse(data) : undefined;
  if (event === 'failure') return { event, ...v.parse(failureSchema, json) };
  if (event === 'history') return { event, ...v.parse(historyEntrySchema, json) };
  return undefined;
}

interface SentEvent {
  readonly event: string;
  readonly id: string;
  readonly data: string;
}

/** Server-Sent Events, of which a server of ours writes one line for each field. */
async function openEvents(url: string, lastId: string | undefined, signal: AbortSignal): Promise<AsyncIterable<SentEvent>> {
  const { body } = await fetchFrom(addressOf(url, 'events'), {
    signal,
    headers: { accept: 'text/event-stream', ...(lastId !== undefined && { 'last-event-id': lastId }) },
  });
  if (!body) throw new NearfarError('network', `${url} sent no events`);
  return readEvents(Readable.fromWeb(body as ReadableStream<Uint8Array>), signal); // the type of the same stream, of the DOM
}

async function* readEvents(body: Readable, signal: AbortSignal): AsyncGenerator<SentEvent> {
  let fields: Record<string, string> = {};
  try {
    // An error of the body ends the lines, and is told by it.
    let failure: Error | undefined;
    body.once('error', (error) => {
      failure = error;
    });
    for await (const line of createInterface({ input: body })) {
      const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
      if (name !== undefined && value !== undefined) fields[name] = value;
      if (line !== '') continue;
      const { event, id = '', data } = fields;
      fields = {};
      if (event !== undefined && data !== undefined) yield { event, id, data };
    }
    if (failure) throw failure;
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    throw new NearfarError('network', `the events broke off: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function timeOf(line: Line): string {
  return line.event === 'failure' ? line.time : line.at;
}

/** What strangers wrote is in it. */
function printLine(line: Line): string {
  return escapeControls(describe(line));
}

function describe(line: Line): string {
  const of = line.version === undefined ? line.model : `${line.model}@${line.version}`;
  if (line.event === 'failure') {
    const times = line.count > 1 ? ` (${line.count} times)` : '';
    return `${line.time}  failure  ${of}  ${line.api ?? line.kind}  ${line.code}: ${line.message}${times}`;
  }
  const change = [line.from, line.to].map((settings) => (settings ? JSON.stringify(settings) : '')).join(' → ');
  const who = line.who === line.way ? line.who : `${line.who} (${line.way})`;
  return `${line.at}  ${line.action} ${line.outcome}  ${of}  ${who}  ${line.message ?? change.replace(/^ → /, '')}`.trimEnd();
}
