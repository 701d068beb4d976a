import { once } from 'node:events';
import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { NearfarError } from '../../../core/index.ts';

/**
 * Makes room for a Unix socket: one that a server left behind, which nobody listens on, is removed.
 * @throws {NearfarError} `unavailable` when a server listens there, or what is there is no socket.
 */
export async function clearSocketPath(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found) return;
  if (!found.isSocket()) throw taken(path, 'something is there that is no socket');
  if (await isListenedOn(path)) throw taken(path, 'another server listens there');
  await unlink(path);
}

async function isListenedOn(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    // Anything else than nobody there, such as a full backlog, is somebody.
    return !(error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED');
  } finally {
    socket.destroy();
  }
}

function taken(path: string, reason: string): NearfarError {
  return new NearfarError('unavailable', `cannot listen on the Unix socket ${path}: ${reason}`, { details: { transport: 'socket', path } });
}
