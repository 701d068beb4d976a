import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { deserializeError, isSerializedError, NearfarError } from '../../core/index.ts';
import type { TunedModel } from './model.ts';

/** A server under test. */
export interface ServerUnderTest extends AsyncDisposable {
  readonly address: string;
}

/** A model that takes longer to load is too slow to try many times. */
const startMs = 120_000;

/**
 * Starts a server in a process of its own, by the flags of `nearfar serve`, and waits until its model is there.
 * @throws {NearfarError} what its start fails with; rejects with `signal.reason` when aborted.
 */
export async function startServerUnderTest(
  { name, version, basePath }: TunedModel,
  flags: readonly string[],
  signal: AbortSignal,
): Promise<ServerUnderTest> {
  signal.throwIfAborted();
  const module = fileURLToPath(new URL('./candidate-server.js', import.meta.url));
  const own = ['--log_level=silent', `--model_name=${name}`, `--model_base_path=${basePath}`];
  const child = fork(module, [version, ...own, ...flags], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  try {
    const address = await addressOf(child, AbortSignal.any([signal, AbortSignal.timeout(startMs)]));
    return { address, [Symbol.asyncDispose]: () => end(child) };
  } catch (error) {
    await end(child);
    if (signal.aborted) throw signal.reason;
    throw error;
  }
}

function addressOf(child: ChildProcess, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const failed = (message: string) => reject(new NearfarError('unavailable', message));
    signal.addEventListener('abort', () => failed(`the model is not loaded after ${startMs / 1000} s`), { once: true });
    child.once('error', ({ message }) => failed(`the server under test cannot be started: ${message}`));
    child.once('exit', (code) => failed(`the server under test ended with status ${code}`));
    child.once('message', (message: { readonly address?: string; readonly error?: unknown }) => {
      if (message.address !== undefined) resolve(message.address);
      else reject(isSerializedError(message.error) ? deserializeError(message.error) : new NearfarError('internal', 'no address'));
    });
  });
}

/** It has nothing that needs a graceful end. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
